"""A site of a thousand builds, rendered once: what is checked here is the built tree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cachelib.steps.rendering import render
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates
from tests.support.sample import SITE, sample_image

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = PROJECT / ".ci/site/node_modules"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site") / "built"
    write_site(folder, render(SITE, [sample_image()], JinjaTemplates(PROJECT / "templates")))
    return folder


def need_tool(name: str) -> Path:
    """A validator that `nox -s site` installs; elsewhere the test is skipped."""
    path = TOOLS / name
    if not path.exists() or shutil.which("node") is None:
        pytest.skip(f"{name} is not installed: run `nox -s site`")
    return path
