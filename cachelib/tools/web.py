"""One look at a web address: no redirects, no second try, bounds on the bytes and on the time that it takes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from cachelib.model.errors import FormatError
from cachelib.model.text import printable
from cachelib.tools.answers import cause_of, plain_url

#: Seconds to wait for a connection and for the next bytes, and for a whole answer; the bytes that are taken of it.
TIMEOUT, LONGEST, LIMIT = (10.0, 20.0), 60.0, 4 * 1024 * 1024
# Of what requests raises, the text of these has the header in it that was no header.
_SILENT = (requests.exceptions.InvalidHeader, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer: its headers by lower-case name."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    links: Mapping[str, str]

    def json(self) -> Any:
        """The body as JSON; raise FormatError where it isn't."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise FormatError(f"{plain_url(self.url)} answered with something that is no JSON") from None

    @property
    def words(self) -> str:
        """What GitHub says of a refusal."""
        with contextlib.suppress(FormatError, TypeError, LookupError):
            return printable(str(self.json()["message"]))[:300]
        return ""


class NoAnswer(Exception):  # noqa: N818 - it never leaves the tools
    """There was no answer, or none that could be taken; its text says why, and tells no header."""


def get(session: requests.Session, url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask for an address; raise NoAnswer."""
    where, until = f"GET {plain_url(url)}", time.monotonic() + LONGEST
    try:
        with session.get(url, headers=dict(headers or {}), timeout=TIMEOUT, allow_redirects=False, stream=True) as response:
            body = bytearray()
            for piece in response.iter_content(65536):
                body += piece
                if len(body) > LIMIT:
                    raise NoAnswer(f"{where} answered with more than {LIMIT} bytes")
                if time.monotonic() > until:
                    raise NoAnswer(f"{where} took more than {LONGEST:.0f} s")
            links = {name: str(link.get("url", "")) for name, link in response.links.items()}
            told = {key.lower(): value for key, value in response.headers.items()}
            return Answer(url=url, status=response.status_code, headers=told, body=bytes(body), links=links)
    except _SILENT as error:
        raise NoAnswer(f"{where}: no address that can be asked: {type(error).__name__}") from None
    except requests.exceptions.RequestException as error:
        cause = cause_of(error)
        raise NoAnswer(printable(f"{where}: {type(cause).__name__}: {cause}")[:500]) from None


def make_session() -> requests.Session:
    """A session that sends no password of ~/.netrc."""
    session = requests.Session()
    session.auth = lambda request: request
    session.headers["User-Agent"] = "spack-build-cache"
    return session
