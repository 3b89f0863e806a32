"""Where Spack can't be had, the demo says so in a line and walks the rest on the mirror that ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cachelib import pipeline
from tests.conftest import need


def test_without_spack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    need("git")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("SPACK_ROOT", raising=False)
    report = pipeline.demo(var=tmp_path)
    assert report.exit_code == 0, report.text
    assert "2 pushed" in report.text
    assert "2 images, 2 layers" in report.text
    assert "0 findings" in report.text
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("No Spack here")]) == 1
    service = json.loads((tmp_path / "demo/site/api/v1/index.json").read_text())
    assert service["counts"]["builds"] == 2
    # Once more: nothing is new, nothing breaks.
    assert "0 pushed" in pipeline.demo(var=tmp_path).text
