"""What an owner's list of licences withholds: planned, built where others need it, and never written where it could be fetched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cachelib import pipeline
from cachelib.model.config import Settings
from cachelib.model.licenses import Licenses


def test_a_denied_licence_is_built_for_others_and_stays_here(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    denied = dataclasses.replace(workspace.settings.stacks["examples"], licenses=Licenses(deny=("CC0-1.0",)))

    def ws(*specs: str) -> pipeline.Workspace:
        stack = dataclasses.replace(denied, specs=specs)
        settings = Settings(stacks={"examples": stack}, registry="oci-layout:reg")
        return dataclasses.replace(workspace, settings=settings, folder=workspace.folder, var=tmp_path / "var")

    reason = "its licence is CC0-1.0, which `licenses` denies"
    # Alone, nobody builds it: it could go nowhere.
    alone = pipeline.plan(ws("almanac-data"), to=f"oci-layout:{tmp_path}/reg")
    assert reason in alone.text
    assert not [line for line in alone.lines if line.startswith("  build ") and "almanac-data" in line]
    # py-almanac is made with it.
    cache = ws("py-almanac")
    built = pipeline.build(cache)
    assert built.exit_code == 0, built.text
    assert f": {reason}" in next(line for line in built.lines if line.startswith("  withheld almanac-data@"))
    names = {name.name for name in cache.mirror("v1.1").names()}
    assert "py-almanac" in names
    assert "almanac-data" not in names
    pushed = pipeline.push(cache, f"oci-layout:{tmp_path}/reg")
    assert pushed.exit_code == 0, pushed.text
    assert not [tag for tag in cache.repository(cache.location(f"oci-layout:{tmp_path}/reg").child("v1.1")).tags() if "almanac-data" in tag]
    assert pipeline.index(cache, f"oci-layout:{tmp_path}/reg").exit_code == 0
    weather = pipeline.weather(cache, to=f"oci-layout:{tmp_path}/reg").text
    assert "but for almanac-data@2026.1/qxvq7qf, which may not be given away" in weather
