"""Several steps in a row: the whole road, for a spec and for the examples."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from cachelib.model.errors import InstallError
from cachelib.pipeline.building import build, run_build
from cachelib.pipeline.installing import install
from cachelib.pipeline.publishing import index, push
from cachelib.pipeline.site import render
from cachelib.pipeline.verifying import verify
from cachelib.pipeline.workspace import EXAMPLES, PROJECT, Workspace, open_workspace
from cachelib.steps import build_reports, reports
from cachelib.steps.reports import Report


def cache(ws: Workspace, specs: Sequence[str] = (), stack_name: str = "", spack_root: str = "", to: str = "") -> Report:
    """The whole road: install, build, push, index, render, verify. A failed build doesn't keep the rest from going out."""
    built = build(ws, specs, stack_name, spack_root)
    if built.exit_code and not any(ws.mirror(image).names() for image in ws.images()):
        return built  # nothing was ever built here, so there is nothing to publish
    return reports.join([built, *_publish(ws, to)])


def demo(spack_root: str = "", var: Path = PROJECT / "var") -> Report:
    """The whole road on the examples; where there is no Spack, from the mirror that ships with them."""
    ws = open_workspace(str(EXAMPLES / "cache.yaml"), var=str(var / "demo"), shared=str(var))
    (image,) = ws.images()
    mirror, to = ws.mirror(image), f"oci-layout:{ws.var / 'registry'}"
    try:
        install(ws, spack_root=spack_root)
    except InstallError as error:
        ws.progress.say(f"No Spack here ({error.message.splitlines()[0]}), so this walks on with the mirror in examples/mirror.")
        if not mirror.names():
            shutil.copytree(EXAMPLES / "mirror", mirror.root, dirs_exist_ok=True)
        built = Report(lines=(f"build: left out; {mirror.root} is as it was, or a copy of examples/mirror",))
    else:
        result = run_build(ws, spack_root=spack_root)
        built = build_reports.build_report(result)
        if result.not_built() == {"broken-clock"}:
            note = "  (broken-clock fails on purpose: a failure is reported, and the rest goes out)"
            built = Report(lines=(*built.lines, note))
    road = reports.join([built, *_publish(ws, to)])
    return road if road.exit_code else Report(lines=(*road.lines, *_what_next(ws)))


def _publish(ws: Workspace, to: str) -> Iterator[Report]:
    """From the mirror to the verified site. Each step works on what the last one left, so one that fails is told, not fatal."""
    for step in (push, index, render, verify):
        yield reports.attempt(partial(step, ws, to))


def _what_next(ws: Workspace) -> Iterator[str]:
    (image,) = ws.images()
    yield ""
    yield "The cache is whole. Look at its site:"
    yield f"  {ws.var / 'site' / 'index.html'}"
    yield "Install from it with any Spack 1.x:"
    yield f"  spack mirror add --unsigned demo file://{ws.mirror(image).root}"
    yield f"  spack repo add {EXAMPLES / 'spack_repo' / 'examples'}"
    yield "  spack buildcache list --allarch"
    yield "  spack install --use-buildcache only py-almanac"
    yield "Build and publish something of your own:"
    yield "  nox -s cache -- --spec bzip2"
