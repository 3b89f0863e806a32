"""A browser without a screen, that asks nobody but the site it is shown."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from cachelib.model.config import Site
from cachelib.model.ports import Files
from cachelib.model.site import Contents
from cachelib.steps.rendering import render
from cachelib.steps.search import search_files
from cachelib.tools.site import serving, write_site
from cachelib.tools.templates import JinjaTemplates

PROJECT = Path(__file__).resolve().parents[2]
TEMPLATES = JinjaTemplates(PROJECT / "templates")
#: Chromium's sandbox needs what a container doesn't give; the rest keeps it from asking its maker for anything.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip


@contextlib.contextmanager
def browsing(program: str) -> Iterator[Browser]:
    """A browser, given by its path."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@contextlib.contextmanager
def served(folder: Path, files: Files) -> Iterator[str]:
    """The address of a site that these files make."""
    write_site(folder, files)
    with serving(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def search_site(contents: Contents) -> Files:
    """What there is of a site without its builds: the search with what it looks through, of whatever size."""
    yield from {path: data for path, data in render(Site(), [], TEMPLATES) if path.parts[0] != "search" or path.suffix == ".html"}.items()
    yield from search_files(contents)
