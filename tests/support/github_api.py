"""An in-process api.github.com that keeps the books of a RegistryDouble: its versions are listed and deleted as GitHub does."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from tests.support.double import Fault, RegistryDouble

# The slash of a package's name is %2F: with a plain one GitHub knows no such address.
_PATH = re.compile(
    r"/(?P<kind>orgs|users|organizations|user)/(?P<owner>[^/]+)/packages/container/(?P<package>[^/]+)/versions(/(?P<id>\d+))?"
)
# As in the reports snok/container-retention-policy#59 and #93, actions/delete-package-versions#51,
# chizkiyahu/delete-untagged-ghcr-action#40, kairos-io/kairos#4724, SmartsquareGmbH/delete-old-packages#33.
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
PRIMARY = "API rate limit exceeded for installation ID 20433984."
DOWNLOADS = (
    "Publicly visible package versions with more than 5000 downloads cannot be deleted. Contact GitHub support for further assistance."
)
LAST_TAGGED = "You cannot delete the last tagged version of a package. You must delete the package instead."
LAST = "You cannot delete the last version of a package. You must delete the package instead."
# Not seen for packages: GitHub's words for a repository.
NO_ADMIN = "Must have admin rights to Repository."
_NUMBER = 4711


@dataclass(slots=True)
class Entry:
    """What GitHub knows of a version beside its digest and its tags; a test may set the times (RFC 3339)."""

    id: int
    created: str
    updated: str


@dataclass(slots=True)
class Limit:
    """A rate limit that begins after so many deletes, and the answers of which are these, so often."""

    after: int = 0
    times: int = 1
    status: int = 403
    headers: dict[str, str] = field(default_factory=dict)
    message: str = SECONDARY


@dataclass(slots=True)
class GitHubDouble:
    """GitHub's side of a double's contents, how it behaves, and its record of what was asked.

    `kind` is `org` or `user`; `role` is `admin`, `write` (a delete is a 403) or `hidden` (a delete is a 404, of what can be
    listed); `downloads` is by digest; `quota` is the requests left until `reset` (epoch seconds), where not None.
    """

    registry: RegistryDouble
    owner: str = "eurohpc"
    package: str = "hub/cache"
    kind: str = "org"
    role: str = "admin"
    token: str = ""
    downloads: dict[str, int] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    quota: int | None = None
    reset: int = 0
    foreign: list[dict[str, Any]] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    issued: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def entry(self, digest: str) -> Entry:
        """The entry of a manifest, made when it is first asked for: a minute after the one before."""
        if digest not in self.entries:
            self.issued += 1
            made = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=self.issued)).strftime("%Y-%m-%dT%H:%M:%SZ")
            self.entries[digest] = Entry(1_000_000 + self.issued, made, made)
        return self.entries[digest]

    def digests(self) -> list[str]:
        """The manifests that there are, newest first."""
        for gone in self.entries.keys() - self.registry.manifests.keys():
            del self.entries[gone]  # pushed again, it would be another version
        entries = {digest: self.entry(digest) for digest in self.registry.manifests}
        return sorted(entries, key=lambda digest: (entries[digest].created, entries[digest].id), reverse=True)

    def tags(self, digest: str) -> list[str]:
        """The tags of a manifest."""
        return sorted(tag for tag, tagged in self.registry.tags.items() if tagged == digest)

    def count(self, pattern: str) -> int:
        """How many requests were like that."""
        return sum(1 for request in self.requests if re.search(pattern, request))


@contextmanager
def serving_github(registry: RegistryDouble) -> Iterator[GitHubDouble]:
    """Serve GitHub's side of a double on a free port of 127.0.0.1."""
    github = GitHubDouble(registry)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"github": github}))
    server.daemon_threads = True
    github.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()


_Answer = tuple[int, Any, dict[str, str]]


class _Handler(BaseHTTPRequestHandler):
    github: GitHubDouble
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def do_GET(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        github, request = self.github, f"{self.command} {self.path}"
        with github.lock, github.registry.lock:
            github.requests.append(request)
            github.headers.append(dict(self.headers.items()))
            fault = next((fault for fault in github.faults if fault.times > 0 and re.search(fault.match, request)), None)
            if fault:
                fault.times -= 1
            if fault and fault.kind == "status":
                answer = _error(fault.status, fault.message, fault.headers)
                if fault.body is not None:
                    answer = fault.status, fault.body, fault.headers
            elif fault and fault.kind == "reset":
                answer = None
            else:
                answer = self._do()
        if answer is None or (fault and fault.kind == "lost"):
            self.close_connection = True
            self.connection.close()
            return
        self._answer(*answer)

    def _answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if self.github.quota is not None:
            self.send_header("X-RateLimit-Remaining", str(self.github.quota))
            self.send_header("X-RateLimit-Reset", str(self.github.reset))
        if status != 204:
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _do(self) -> _Answer:
        github, url = self.github, urlsplit(self.path)
        if github.token and self.headers.get("Authorization") != f"Bearer {github.token}":
            return _error(401, "Bad credentials")
        if github.quota == 0 and time.time() < github.reset:
            return _error(403, PRIMARY)
        if github.quota:
            github.quota -= 1
        found = _PATH.fullmatch(url.path)
        # The address of a later page has numbers for names, as GitHub's has: who makes it up himself gets nowhere.
        homes = {
            "org": (("orgs", github.owner), ("organizations", str(_NUMBER))),
            "user": (("users", github.owner), ("user", str(_NUMBER))),
        }
        if found is None or (found["kind"], found["owner"]) not in homes[github.kind]:
            return _error(404, "Not Found")
        if found["package"] != quote(github.package, safe="") or not (github.registry.manifests or github.foreign):
            return _error(404, "Package not found.")
        if found["id"] is None:
            return self._list(found["package"], parse_qs(url.query))
        digest = next((digest for digest in github.digests() if github.entry(digest).id == int(found["id"])), None)
        if digest is None:
            return _error(404, "Package version not found.")
        return (200, self._version(digest), {}) if self.command == "GET" else self._delete(digest)

    def _list(self, package: str, query: dict[str, list[str]]) -> _Answer:
        versions = [*self.github.foreign, *map(self._version, self.github.digests())]
        # Using pagination in the REST API: 30 on a page unless asked for more, and never more than 100.
        size, page = min(int(query.get("per_page", ["30"])[0]), 100), int(query.get("page", ["1"])[0])
        last = max(1, -(-len(versions) // size))
        kind = {"org": "organizations", "user": "user"}[self.github.kind]
        address = f"{self.github.url}/{kind}/{_NUMBER}/packages/container/{package}/versions?per_page={size}&page="
        links = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        wanted = ("next", "last") if page == 1 else ("prev", "first") if page >= last else tuple(links)
        link = ", ".join(f'<{address}{links[name]}>; rel="{name}"' for name in wanted)
        return 200, versions[(page - 1) * size : page * size], {"Link": link} if last > 1 else {}

    def _version(self, digest: str) -> dict[str, Any]:
        entry = self.github.entry(digest)
        return {
            "id": entry.id,
            "name": digest,
            "url": f"{self.github.url}/{entry.id}",
            "package_html_url": f"https://github.com/{self.github.owner}",
            "created_at": entry.created,
            "updated_at": entry.updated,
            "metadata": {"package_type": "container", "container": {"tags": self.github.tags(digest)}},
        }

    def _delete(self, digest: str) -> _Answer:
        github = self.github
        if github.role != "admin":
            return _error(403, NO_ADMIN) if github.role == "write" else _error(404, "Package not found.")
        for limit in github.limits:
            if limit.times > 0 and len(github.deleted) >= limit.after:
                limit.times -= 1
                return _error(limit.status, limit.message, limit.headers)
        if github.downloads.get(digest, 0) > 5000:
            return _error(400, DOWNLOADS)
        tags = github.tags(digest)
        if tags and github.registry.manifests.keys() & github.registry.tags.values() == {digest}:
            return _error(400, LAST_TAGGED)
        if len(github.registry.manifests) == 1:
            return _error(400, LAST)
        del github.registry.manifests[digest]
        for tag in tags:
            del github.registry.tags[tag]
        github.deleted.append(digest)
        return 204, b"", {}


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> _Answer:
    return status, {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}, headers or {}
