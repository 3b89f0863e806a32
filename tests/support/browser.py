"""Debian's Chromium, driven: pages as people have them, with everything that goes wrong in them collected."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Dialog, Page, sync_playwright

from cachelib.model.ports import Files
from cachelib.tools.site import serving, write_site
from tests.conftest import need

#: It runs as root in containers, and asks nobody outside for anything.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass
class Complaints:
    """What a page complained of: errors of scripts, of the console (where violations of the policy stand too), and dialogs."""

    found: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        """Hear a page."""
        page.on("console", lambda message: self.found.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.found.append(str(error)))
        page.on("dialog", self._answer)

    def _answer(self, dialog: Dialog) -> None:
        self.found.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium as the system has it; a skip where there is none."""
    path = need("chromium")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield started
        finally:
            started.close()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder that is served."""
    with serving(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def shown(folder: Path, files: Files) -> Iterator[str]:
    """The address of a site that these files make."""
    write_site(folder, files)
    with served(folder) as url:
        yield url
