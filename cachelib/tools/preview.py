"""Serves a site while it is worked on: the pages that are open load again when the site is another, and tell what is wrong with it.

What that takes is put into the pages on their way out; the files on the disk stay as they were rendered.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import secrets
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from cachelib.tools.files import open_plain
from cachelib.tools.site import SiteHandler, serving

_HEAD = re.compile(rb"<head(\s[^>]*)?>", re.IGNORECASE)
_EMPTY = b"<!doctype html><html lang='en'><head><title>Not here</title></head><body><p>This page isn't rendered.</p></body></html>"
#: Asks again and again which site this is. The pages' policy lets it: a script of their own origin, that asks its own origin.
#: The address of the script says which site the page is of, so that no change falls between the page and the first question.
_SCRIPT = b"""\
"use strict";
(() => {
  const mine = new URL(document.currentScript.src).search.slice(1);
  const note = document.createElement("pre");
  note.id = "live-error";
  note.setAttribute("role", "alert");
  // Set one by one: the pages' policy takes no style out of an attribute.
  Object.assign(note.style, {
    position: "fixed", inset: "auto 0 0 0", zIndex: "2147483647", margin: "0", padding: "1rem", maxHeight: "50vh", overflow: "auto",
    whiteSpace: "pre-wrap", font: "14px/1.4 monospace", color: "#fff", background: "#8b1a1a",
  });
  const ask = async () => {
    let wait = 400;
    try {
      const { version, error } = await (await fetch("/_live")).json();
      if (version !== mine) {
        location.reload();
        return;
      }
      note.textContent = error;
      if (!error) note.remove();
      else if (!note.isConnected) document.body.append(note);
    } catch {
      wait = 2000; // The preview has ended, or is started again.
    }
    setTimeout(ask, wait);
  };
  ask();
})();
"""


class Live:
    """What the open pages are told: which site this is, and what keeps the next one from being rendered."""

    def __init__(self) -> None:
        self.version = secrets.token_hex(8)
        self.error = ""

    def renew(self) -> None:
        """The site is another one: pages load again."""
        self.version = secrets.token_hex(8)


class _Handler(SiteHandler):
    def __init__(self, *arguments: Any, live: Live, **more: Any) -> None:
        self._live = live
        super().__init__(*arguments, **more)

    def end_headers(self) -> None:
        """Let nothing be kept: a style that is a second old may be another one already."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Answer the script's questions, and put the script into pages; all else is as it is."""
        # Taken before the page is read: one that is then newer than this loads once more, one that is older would never.
        version = self._live.version
        match self.path.partition("?")[0]:
            case "/_live":
                return self._answer("application/json", json.dumps({"version": version, "error": self._live.error}).encode())
            case "/_live.js":
                return self._answer("text/javascript; charset=utf-8", _SCRIPT)
        found = self.translate_path(self.path)
        page = Path(found, "index.html") if found.endswith("/") else Path(found)
        if page.suffix == ".html":
            # A name may be longer than a disk has any, and a page may go while it is looked for: the next render takes its place.
            with contextlib.suppress(OSError, ValueError), open_plain(page) as file:
                return self._answer("text/html; charset=utf-8", with_script(file.read(), version))
        return super().send_head()

    def missing(self) -> bytes:
        """The page for what isn't there, which listens too: it may come."""
        version = self._live.version
        return with_script(super().missing() or _EMPTY, version)

    def _answer(self, kind: str, body: bytes) -> io.BytesIO:
        self.begin(200, kind, body)
        return io.BytesIO(body)


def with_script(page: bytes, version: str) -> bytes:
    """A page that listens. The script comes first in the head: what is broken further down can't keep it from running."""
    script = b'<script src="/_live.js?%s" defer></script>' % version.encode()
    head = _HEAD.search(page)
    return page[: head.end()] + script + page[head.end() :] if head else page + script


@contextlib.contextmanager
def previewing(folder: Path, port: int, live: Live) -> Iterator[ThreadingHTTPServer]:
    """A server of a folder, at work beside the caller, whose pages listen to `live`. Raise RenderError if the port can't be used."""
    with serving(folder, port, partial(_Handler, live=live)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
