"""Whether a registry takes a login: asks for a token as a push does (distribution, Token Authentication), and writes nothing."""

from __future__ import annotations

import contextlib
import re
from urllib.parse import urlencode, urlsplit

import requests

from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import RegistryLocation
from cachelib.tools import web
from cachelib.tools.answers import plain_url
from cachelib.tools.credentials import Credentials

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


def takes_login(location: RegistryLocation, credentials: Credentials) -> bool | None:
    """Whether a registry takes credentials; None where it asks for none. Raise RegistryError where that can't be told.

    Reading tells nothing: a client whose login is refused reads as anybody.
    """
    session = web.make_session()
    url = f"{'http' if location.plain_http else 'https'}://{location.host}/v2/"
    first = _get(session, url, {})
    if first.status == 200:
        return None
    challenge = first.headers.get("www-authenticate", "")
    if first.status != 401 or not challenge:
        raise RegistryError(f"{url} answers {first.status}, and does not say how to log in", status=first.status)
    if challenge.lower().startswith("basic"):
        return _took(_get(session, url, {"Authorization": credentials.basic()}))
    told = dict(_PARAMETER.findall(challenge))
    realm = told.get("realm", "")
    # Never a password over plain http, where the registry itself is https.
    if urlsplit(realm).scheme not in (("http", "https") if location.plain_http else ("https",)):
        raise RegistryError(f"{url} sends to {plain_url(realm)} for a token, where a password must not go")
    query = {"scope": f"repository:{location.repository}:pull,push"} | ({"service": told["service"]} if told.get("service") else {})
    answer = _get(session, f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}", {"Authorization": credentials.basic()})
    if _took(answer) and not _has_token(answer):
        raise RegistryError(f"{plain_url(realm)} answered with something that is no token")
    return _took(answer)


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> web.Answer:
    try:
        return web.get(session, url, headers)
    except web.NoAnswer as error:
        raise RegistryError(str(error)) from None


def _took(answer: web.Answer) -> bool:
    if answer.status not in (200, 400, 401, 403):
        raise RegistryError(f"{plain_url(answer.url)} answers {answer.status}", status=answer.status)
    if answer.status == 403 and ("retry-after" in answer.headers or b"rate limit" in answer.body.lower()):
        raise RegistryError(f"{plain_url(answer.url)} answers that its rate limit is used up", status=403)
    return answer.status == 200


def _has_token(answer: web.Answer) -> bool:
    with contextlib.suppress(FormatError, AttributeError):
        data = answer.json()
        return bool(data.get("token") or data.get("access_token"))
    return False
