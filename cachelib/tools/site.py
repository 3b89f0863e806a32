"""Writes a site into a folder in one step, and serves it on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from cachelib.model.errors import RenderError
from cachelib.model.ports import Files

#: In a folder of ours; without it a folder is somebody else's and not replaced.
MARKER = ".spack-build-cache-site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a site: how many files it has, of how many bytes, and how many of them are new, other, or gone."""

    files: int
    size: int
    new: int
    changed: int
    gone: int


def write_site(folder: Path, files: Files) -> Written:
    """Write all files into a fresh folder, then put it in the place of `folder`. Raise RenderError.

    A file that is there already, byte for byte, is linked and not written again: it keeps its time.
    """
    try:
        _check_ours(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            written = _write(fresh, files, folder)
            fresh.chmod(0o755)
            _swap(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise RenderError(f"{folder} can't be written: {error}", hint="name a folder that can be made with --out") from None
    return written


def make_folder(folder: Path) -> None:
    """Make an empty folder of a site, where there is none yet. Raise RenderError."""
    if not folder.is_dir():
        write_site(folder, ())
    _check_ours(folder)


def _check_ours(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise RenderError(f"{folder} holds files that are not a site of ours", hint="name another folder, or empty this one")


def _write(fresh: Path, files: Files, last: Path) -> Written:
    seen: set[str] = set()
    before = sum(len(names) for _, _, names in os.walk(last)) - (last / MARKER).exists()
    size = same = changed = 0
    (fresh / MARKER).write_bytes(b"")
    for path, data in files:
        # Some disks don't tell README from readme; a site that holds both would lose one of them there.
        key = path.as_posix().lower()
        if path.is_absolute() or ".." in path.parts or key in seen:
            raise RenderError(f"the site would write {path} twice or outside its folder")
        seen.add(key)
        (fresh / path).parent.mkdir(parents=True, exist_ok=True)
        size += len(data)
        held = _read(last / path)
        if held == data and _link(last / path, fresh / path):
            same += 1
            continue
        changed += held is not None
        (fresh / path).write_bytes(data)
    return Written(files=len(seen), size=size, new=len(seen) - same - changed, changed=changed, gone=before - same - changed)


def _read(path: Path) -> bytes | None:
    """What a file holds; nothing where there is no file of our own making."""
    try:
        return None if path.is_symlink() else path.read_bytes()
    except OSError:
        return None


def _link(old: Path, new: Path) -> bool:
    """Give a file a second name, where the disk can do that."""
    try:
        new.hardlink_to(old)
    except OSError:
        return False
    return True


def _swap(fresh: Path, folder: Path) -> None:
    """Put the fresh folder in the place of the last one: at no moment is there none (where the system can exchange two)."""
    if not folder.exists():
        fresh.rename(folder)
    elif not _exchange(fresh, folder):
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step: renameat2(2) with RENAME_EXCHANGE, which Linux alone has."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


class SiteHandler(SimpleHTTPRequestHandler):
    """Answers with the files of a folder, and with the site's own page for what isn't there, as GitHub Pages does."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
        """Say nothing: the browser shows what it got."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Begin to answer; a name that no disk can have, such as one with a zero byte, is of nothing."""
        try:
            return super().send_head()
        except ValueError:
            self.send_error(404)
            return None

    def list_directory(self, path: str | os.PathLike[str]) -> None:  # noqa: ARG002 (the base class asks for it)
        """Show no lists of files: GitHub Pages has none."""
        self.send_error(404)

    def missing(self) -> bytes | None:
        """The page for what isn't there."""
        try:
            return Path(str(self.directory), "404.html").read_bytes()
        except OSError:
            return None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Show the site's own page for what isn't there."""
        body = self.missing() if code == 404 else None
        if body is None:
            super().send_error(code, message, explain)
            return
        self.begin(code, "text/html; charset=utf-8", body)
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, code: int, kind: str, body: bytes) -> None:
        """Send what stands before a body."""
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went on to another page before it had all of this one."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serving(folder: Path, port: int, handler: Callable[..., SiteHandler] = SiteHandler) -> Iterator[ThreadingHTTPServer]:
    """A server of a folder on 127.0.0.1; port 0 takes a free one. Raise RenderError if it can't."""
    if not folder.is_dir():
        raise RenderError(f"{folder} does not exist", hint="run `inv render` first")
    try:
        server = _Server(("127.0.0.1", port), partial(handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise RenderError(f"port {port} can't be used: {error}", hint="choose another with --port") from None
    with server:
        yield server
