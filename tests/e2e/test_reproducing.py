"""What `inv reproduce` has a person type builds the very spec that failed, with stock Spack, and it fails in the same way."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

from cachelib import pipeline
from cachelib.steps.reports import Report
from tests.e2e.conftest import CLIENTS, SHARED

SAID = "-Wl,-soname,libsundial.so.1"
WHY = "clock.c:7:12: error: 'no_such_variable' undeclared"


def typed(report: Report, folder: Path) -> str:
    """Type the commands of a report; what they fetch from GitHub comes from the checkouts that are here."""
    commit, _, packages = CLIENTS["v1.1.0"]
    near = {
        "https://github.com/spack/spack.git": SHARED / "spack" / commit[:12],
        "https://github.com/spack/spack-packages.git": SHARED / "packages" / packages[:12],
    }
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SPACK_", "GIT_"))}
    env |= {"HOME": str(folder), "GIT_CONFIG_COUNT": str(len(near))}
    for at, (url, path) in enumerate(near.items()):
        env |= {f"GIT_CONFIG_KEY_{at}": f"url.{path.resolve().as_uri()}.insteadOf", f"GIT_CONFIG_VALUE_{at}": url}
    # Not the interpreter of the tests: a person's Spack has no clingo either, and what is concrete needs none.
    done = subprocess.run(
        ["bash", "-e"], input="\n".join(report.data[0]["commands"]), env=env, cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=900, check=False,
    )  # fmt: skip
    return done.stdout


def test_a_published_build_is_built_again_and_a_failed_one_fails_again(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    ws = replace(workspace, var=tmp_path / "runner")
    to, out = f"oci-layout:{tmp_path / 'registry'}", str(tmp_path / "again")
    pipeline.plan(ws, ["broken-clock"], to=to, workers=1)
    pipeline.work(ws, 1)
    pipeline.publish(ws, to)

    failing = pipeline.reproduce(ws, "broken-clock", to, out=out)
    h = failing.data[0]["hash"]
    needed = next(node for node in json.loads((tmp_path / "again/spec.json").read_text())["spec"]["nodes"] if node["name"] == "libsundial")
    published = pipeline.reproduce(ws, needed["hash"], to, out=out)
    assert (failing.data[0]["failed"], published.data[0]["failed"]) == (True, False)
    # The log of what was built lies in its tarball: what the build printed, and where it is from.
    *said_then, note = pipeline.log(ws, needed["hash"][:7], to).lines
    assert any(SAID in line for line in said_then), said_then
    assert note.startswith(f"log: libsundial@1.2.0/{needed['hash'][:7]} in "), note
    assert failing.data[0]["commands"] == published.data[0]["commands"]
    said = typed(published, tmp_path)
    assert f"libsundial: Successfully installed libsundial-1.2.0-{needed['hash']}" in said, said

    assert pipeline.reproduce(ws, h[:7], to, out=out).data == failing.data
    assert WHY in (tmp_path / "again/log.txt").read_text(encoding="utf-8")
    assert WHY in pipeline.log(ws, h[:7], to).text
    said = typed(failing, tmp_path)
    assert f"Installing broken-clock-0.1-{h} [" in said, said
    assert "Error: ProcessError: Command exited with status 1" in said
    assert WHY in said.replace("\n           ", "")
    # In the log of Spack, too, it is the same line that is wrong.
    log = next((tmp_path / "again/cache/stage").rglob(f"spack-stage-broken-clock-0.1-{h}/spack-build-out.txt"))
    assert WHY in log.read_text(encoding="utf-8")
