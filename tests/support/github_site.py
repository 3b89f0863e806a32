"""GitHub as a diagnosis meets it: an API that answers what a test tells it to, and a registry that lets in whom it likes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.support import double
from tests.support.double import RegistryDouble, serving
from tests.support.faults import Answer, refusal

OWNER, NAME = "EuroHPC", "cache"
REPOSITORY = f"repos/{OWNER}/{NAME}"
PACKAGE = "orgs/eurohpc/packages/container/cache%2Fv1.1"
WORKFLOWS = f"{REPOSITORY}/actions/workflows?per_page=100"
PERMISSIONS = f"{REPOSITORY}/actions/permissions/workflow"


@dataclass(slots=True)
class Site:
    """Answers by path and query: JSON, or a status, headers and a body. What is not listed is a 404."""

    answers: dict[str, Any] = field(default_factory=dict)
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    url: str = ""

    def set(self, path: str, **changes: Any) -> None:
        """Change some keys of an answer."""
        self.answers[path] = {**self.answers[path], **changes}

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
        """What is answered to whom."""
        if authorization and authorization != f"Bearer {self.token}":
            return 401, {}, json.dumps({"message": "Bad credentials"}).encode()
        if path not in self.answers or (not authorization and ("packages/" in path or "permissions" in path)):
            return 404, self.headers, json.dumps({"message": "Not Found"}).encode()
        found = self.answers[path]
        if isinstance(found, tuple):
            status, headers, body = found
            return status, {**self.headers, **headers}, body
        return 200, self.headers, json.dumps(found).encode()


def good_site() -> Site:
    """A repository, its Pages, its workflows and its package, all as they should be."""
    repository = {
        "full_name": f"{OWNER}/{NAME}", "owner": {"login": OWNER, "type": "Organization"}, "private": False, "archived": False,
        "default_branch": "main", "has_pages": True,
    }  # fmt: skip
    pages = {"html_url": "https://eurohpc.github.io/cache/", "build_type": "workflow", "cname": None, "https_enforced": True}
    workflow = {"id": 1, "name": "Build", "path": ".github/workflows/build.yml", "state": "active"}
    package = {"id": 2, "name": "cache/v1.1", "visibility": "public", "repository": {"full_name": f"{OWNER}/{NAME}"}}
    return Site(
        answers={
            REPOSITORY: repository,
            f"{REPOSITORY}/pages": pages,
            WORKFLOWS: {"total_count": 1, "workflows": [workflow]},
            PERMISSIONS: {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False},
            PACKAGE: package,
        }
    )


@contextmanager
def serving_site(site: Site) -> Iterator[Site]:
    """Serve a site on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(self.path.lstrip("/"))
            site.authorizations.append(self.headers.get("Authorization", ""))
            status, headers, body = site.answer(self.path.lstrip("/"), self.headers.get("Authorization", ""))
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with serving(Handler) as host:
        site.url = f"http://{host}"
        yield site


@dataclass(slots=True)
class Door:
    """Who may read a registry: anybody where `public`, and whoever knows the password."""

    registry: RegistryDouble
    public: bool = True
    password: str = "s3cret-passw0rd"

    def token(self, authorization: str) -> Answer:
        """The answer to who asks for a token, as ghcr.io's: a bad password is refused even where none is needed."""
        good = "Basic " + base64.b64encode(f"me:{self.password}".encode()).decode()
        if authorization == good or (not authorization and self.public):
            return Answer(200, {"Content-Type": "application/json"}, json.dumps({"token": "let-me-in"}).encode())
        return refusal(403 if authorization else 401, "DENIED", "requested access to the resource is denied")


@contextmanager
def serving_door(registry: RegistryDouble) -> Iterator[Door]:
    """Serve a registry behind a door; `registry.host` is where."""
    door = Door(registry)

    class Handler(double._Handler):
        def note(self, request: str) -> Answer | None:
            super().note(request)
            authorization = self.headers.get("Authorization", "")
            if urlsplit(self.path).path == "/token":
                return door.token(authorization)
            if authorization == "Bearer let-me-in":
                return None
            where = f'Bearer realm="http://{registry.host}/token",service="door"'
            return refusal(401, "UNAUTHORIZED", "authentication required", {"Www-Authenticate": where})

    with serving(type("Guarded", (Handler,), {"double": registry, "plan": registry.plan})) as registry.host:
        yield door
