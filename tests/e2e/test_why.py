"""Why stock Spack would not take a spec from the cache: what it is told, typed, ends in what the cache has."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.errors import UsageError
from tests.e2e.conftest import Client


def what(word: str) -> str:
    """The name of a variant, or of a key."""
    return word.lstrip("+~").partition("=")[0]


@pytest.mark.parametrize("client_root", ["v1.1.0"], indirect=True)
def test_the_advice_leads_to_the_cache(
    client: Client, published: str, workspace: pipeline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(client.certificates.authority))
    client = replace(client, mirrors={"cache": published})  # so Spack reuses what is there, as it does by itself
    ws = replace(workspace, env={**client.env(), "REQUESTS_CA_BUNDLE": str(client.certificates.authority)})
    asked, to, root = "moonphase ~emoji target=x86_64_v2", published.removesuffix("/v1.1"), str(client.root)
    fields = []
    for _ in range(5):
        report = pipeline.why(ws, asked, to, spack_root=root)
        (data,) = report.data
        if data["present"]:
            break
        told = data["near"][0]["differences"][0]
        fields.append(told["field"])
        typed = re.search(r"spack install moonphase *(\S+)", told["advice"])
        assert typed, report.text
        asked = " ".join(["moonphase", typed[1], *(word for word in asked.split()[1:] if what(word) != what(typed[1]))])
    assert data["present"], report.text
    assert fields == ["target", "variant"]
    # The same of a file, where no Spack is at hand; and what Spack refuses is told in its words.
    said = client.run("spec", "--json", asked)  # with its warnings, which a shell would keep apart
    (tmp_path / "spec.json").write_text(said[said.index("{") :], encoding="utf-8")
    assert pipeline.why(replace(ws, env={"PATH": ""}), str(tmp_path / "spec.json"), to).data[0]["present"]
    with pytest.raises(UsageError, match=r"Spack can't make 'nosuchpackage' concrete: .*nosuchpackage"):
        pipeline.why(ws, "nosuchpackage", to, spack_root=root)
