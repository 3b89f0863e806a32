"""What a Spack may be set up with: mirrors, versions and a folder, each checked before anything is fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cachelib.model.errors import UsageError
from cachelib.model.oci import parse_location

_SCHEMES = ("https", "http", "file", "s3", "gs")
# RFC 3986 without `$`, which Spack would take for a variable.
_URL = re.compile(r"[A-Za-z0-9._~:/?#&'()*+,;=%-]+")
# A git ref: no option can be smuggled in as one.
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
# What neither a shell, nor PATH, nor Spack's settings, nor the first line of a script takes for anything but a name.
_FOLDER = re.compile(r"/[\w./+@%=,-]*")


def mirrors(caches: Sequence[str]) -> dict[str, str]:
    """The mirrors of a Spack by name: cache, cache-2, and so on; raise UsageError naming the one that is none."""
    if not caches:
        raise UsageError("no cache is named", hint="name at least one mirror, such as oci://ghcr.io/OWNER/REPO/v1.1")
    return {f"cache-{number}" if number > 1 else "cache": _mirror(text) for number, text in enumerate(caches, 1)}


def _mirror(text: str) -> str:
    scheme = text.partition("://")[0]
    if scheme in ("oci", "oci+http"):
        return str(parse_location(text, folder=Path("/")))
    if "@" in text:
        raise UsageError("the address of a mirror holds no user and no password", hint="`spack mirror set` names the variables that do")
    if scheme not in _SCHEMES or not _URL.fullmatch(text) or not urlsplit(text).path.strip("/") + urlsplit(text).netloc:
        raise UsageError(
            f"{text!r} is no mirror that Spack reads",
            hint="write oci://HOST/NAME, such as oci://ghcr.io/OWNER/REPO/v1.1, or https://... or file:///...",
        )
    return text


def check_version(text: str, what: str) -> str:
    """A tag, a branch or a commit; raise UsageError where it can be none."""
    if not _VERSION.fullmatch(text):
        raise UsageError(f"the version of {what} is {text!r}", hint="it is a tag, a branch or a commit's 40 hex digits")
    return text


def is_commit(text: str) -> bool:
    """Whether it names a commit by itself."""
    return re.fullmatch(r"[0-9a-f]{40}", text) is not None


def check_folder(path: Path) -> Path:
    """An absolute folder that a Spack can live in; raise UsageError."""
    if not _FOLDER.fullmatch(str(path)):
        raise UsageError(
            f"Spack can't be set up in {str(path)!r}",
            hint="take a path of letters, digits and . _ - + @ % = , alone: no blanks, no `:` or `$`",
        )
    return path
