"""Makes an error of a registry's answer: which request it was, the registry's own code and words, whether another try may help."""

from __future__ import annotations

import re

import requests
import urllib3.exceptions
from urllib3.util import parse_url

from cachelib.model.errors import RegistryError
from cachelib.model.text import printable

#: Bytes that are read of what an error, or an answer that nobody waits for, says; a token has some KB.
ERROR_LIMIT = 65536
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
# ghcr.io answers so now and then to uploads that are right (distribution-spec, Error Codes).
_TEMPORARY_CODES = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "MANIFEST_BLOB_UNKNOWN", "TOOMANYREQUESTS"})
# ghcr.io tells in its message what other registries tell in a header: `retry-after: 226.5ms, allowed: 2000/minute`.
_RETRY_AFTER = re.compile(r"retry-after: (\d+(?:\.\d+)?)(ns|µs|us|ms|s|m)\b")
_UNITS = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def error_of(where: str, response: requests.Response) -> RegistryError:
    """Make an error of an answer: the registry's own code and words, and what to do about it."""
    status, code, words = response.status_code, "", ""
    codes: list[str] = []
    settle(response)
    try:
        told = response.json()["errors"]
        code, words = str(told[0].get("code", "")), str(told[0].get("message", ""))
        # One request may have several errors: docker-registry tells of each blob of a manifest, and of a blob twice.
        codes = [str(one.get("code", "")) for one in told]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, requests.RequestException):
        pass
    limited = status == 429 or (status == 403 and "rate limit" in words.lower())
    return RegistryError(
        printable(f"{where}: {status} {code or response.reason or ''} {words}".rstrip())[:1000],
        status=status,
        code=code,
        temporary=limited or status in _TEMPORARY or not _TEMPORARY_CODES.isdisjoint([code, *codes]),
        retry_after=_seconds(response.headers.get("Retry-After"), words) or (60.0 if limited and status == 403 else None),
        hint=_HINTS.get(status, "") if not (status == 403 and where.startswith(("GET", "HEAD"))) else _HINTS[401],
    )


_HINTS = {
    401: "log in with `docker login` or `podman login`, or set CACHE_REGISTRY_USERNAME and CACHE_REGISTRY_PASSWORD",
    403: "the credentials may not write here: on GitHub the job needs `permissions: packages: write`, and the package must "
    "grant this repository write access (its settings, Manage Actions access)",
    404: "does the repository exist, and is it public?",
    413: "the registry takes no layer of this size",
}


def settle(response: requests.Response) -> bool:
    """Read what an error or a small answer says, up to a bound, and give the connection back; return whether it broke off."""
    cut = False
    if not response._content:
        try:
            response._content = response.raw.read(ERROR_LIMIT, decode_content=True)
            cut = bool(response.raw.length_remaining) and len(response._content) < ERROR_LIMIT
        except (urllib3.exceptions.HTTPError, OSError):
            response._content, cut = b"", True
        response.close()
    return cut


def _seconds(retry_after: str | None, words: str) -> float | None:
    if told := _RETRY_AFTER.search(words):
        return float(told[1]) * _UNITS[told[2]]
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None  # a date: wait as if none was told


def plain_url(url: str) -> str:
    """The address without what may be secret in it: user, password, query."""
    try:
        parsed = parse_url(url)
    except ValueError:
        return "an address that is none"
    return f"{parsed.scheme}://{parsed.netloc}{parsed.path or ''}"


def cause_of(error: BaseException) -> BaseException:
    """The innermost cause: the chain of urllib3 is longer than its news."""
    while isinstance(inner := (error.__cause__ or error.__context__ or getattr(error, "reason", None)), BaseException):
        error = inner
    return error
