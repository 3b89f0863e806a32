"""The site on this machine: as it was rendered, or rendered anew whenever its templates change."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cachelib.model.config import Site
from cachelib.model.errors import CacheError, RenderError, UsageError
from cachelib.model.site import SiteImage
from cachelib.pipeline.site import site_folder, site_images, site_templates, template_folders
from cachelib.pipeline.workspace import Workspace, open_workspace, settings_path
from cachelib.steps.rendering import render
from cachelib.steps.reports import error_text
from cachelib.tools.config_file import read_settings
from cachelib.tools.preview import Live, previewing
from cachelib.tools.site import Written, make_folder, serving, write_site
from cachelib.tools.watching import look, wait_for_change


def serve(config: str = "", to: str = "", port: int = 8000, out: str = "", *, live: bool = False) -> None:
    """Show the site on this machine until interrupted: as it was rendered, or live."""
    ws = open_workspace(config)
    if to and not live:
        raise UsageError("--to says what is rendered, and without --live nothing is", hint="add --live, or `inv render --to ...` first")
    with contextlib.suppress(KeyboardInterrupt):
        if live:
            _preview(ws, settings_path(config), site_images(ws, to), site_folder(ws, out), port)
        else:
            with serving(site_folder(ws, out), port) as server:
                ws.progress.say(_address(server.server_port))
                server.serve_forever()


def _address(port: int) -> str:
    return f"the site is at http://127.0.0.1:{port}/ (Ctrl-C ends it)"


def _preview(ws: Workspace, config: Path, images: Sequence[SiteImage], folder: Path, port: int) -> None:
    """Render, and again after each change, until interrupted. What the registry holds is read once."""
    make_folder(folder)
    live = Live()
    work = _Work(ws=ws, config=config, images=images, folder=folder)
    with previewing(folder, port, live) as server:
        ws.progress.say(_address(server.server_port))
        site = ws.settings.site
        while True:
            see = partial(look, [config, *template_folders(ws.folder, site)], [ws.var, folder])
            seen, before = see(), site
            site = work.turn(live, site)
            if site.templates == before.templates:  # else there is another folder to look at, of which nothing is seen yet
                wait_for_change(seen, see)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    ws: Workspace
    config: Path
    images: Sequence[SiteImage]
    folder: Path

    def turn(self, live: Live, site: Site) -> Site:
        """Render once, and tell pages and terminal of it; return what cache.yaml says of the site, or said last while it was right."""
        say, began = self.ws.progress.say, time.monotonic()
        try:
            site = read_settings(self.config).site
            written = write_site(self.folder, render(site, self.images, site_templates(self.ws.folder, site)))
        except (CacheError, OSError) as error:
            # OSError: an editor may take a file away to put another in its place.
            known = error if isinstance(error, CacheError) else RenderError(str(error))
            live.error = error_text(known)
            for line in live.error.splitlines():
                say(line)
            say("the site stays as it was; mend this, and it goes on")
            return site
        live.error = ""
        if written.new or written.changed or written.gone:
            live.renew()
        say(_told(written, time.monotonic() - began))
        return site


def _told(written: Written, seconds: float) -> str:
    counts = f"{written.new} new, {written.changed} changed, {written.gone} gone"
    return f"rendered: {written.files} files, {counts} ({seconds:.1f} s)"
