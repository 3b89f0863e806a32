"""A site of a thousand builds, rendered once: what is checked here is the built tree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cachelib.model.config import Site
from cachelib.model.failure import Failure
from cachelib.model.record import Origin
from cachelib.model.site import SiteImage
from cachelib.steps.rendering import render
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates
from tests.support.caches import made_catalog, made_wanted

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = PROJECT / ".ci/site/node_modules"
BUILDS, FAILURES = 1000, 12
SITE = Site(title="A sample cache", description="What a site of a thousand builds looks like.", url="https://owner.github.io/cache")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site") / "built"
    failures = {failure.hash: failure for failure in map(_failure, range(FAILURES))}
    catalog = made_catalog(BUILDS)
    image = SiteImage(
        name="v1.1", mirror_url="oci://ghcr.io/owner/cache/v1.1", reference="ghcr.io/owner/cache/v1.1", catalog=catalog,
        failures=failures, logs=dict.fromkeys(failures, "==> Executing phase: 'build'\nld: cannot find -lsz\n" * 30),
        wanted=(made_wanted(catalog, min(failures)),),
    )  # fmt: skip
    write_site(folder, render(SITE, [image], JinjaTemplates(PROJECT / "templates")))
    return folder


def _failure(at: int) -> Failure:
    h = f"{'abcdefghijkl'[at] * 32}"
    return Failure(
        hash=h, label=f"hdf5@1.14.{at}/{h[:7]}", phase="build", message="ProcessError: Command exited with status 2: 'make' '-j4'",
        error_lines=("312: ld: cannot find -lsz", "make[2]: *** [libhdf5.la] Error 1"), since="2026-11-01T02:14:00Z",
        last=f"2026-11-{at + 1:02}T02:14:00Z", times=at + 1, origin=Origin(stack="everything", run="https://github.com/owner/cache/actions/runs/1"),
    )  # fmt: skip


def need_tool(name: str) -> Path:
    """A validator that `nox -s site` installs; elsewhere the test is skipped."""
    path = TOOLS / name
    if not path.exists() or shutil.which("node") is None:
        pytest.skip(f"{name} is not installed: run `nox -s site`")
    return path
