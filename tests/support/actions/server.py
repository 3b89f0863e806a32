"""A local stand-in for the part of api.github.com that a run of Actions talks to; it shares its state with the runner."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.actions.loading import load_workflow
from tests.support.actions.records import Artifact, Call
from tests.support.actions.state import Grant, JobRow, State
from tests.support.actions.values import WorkflowError
from tests.support.double import serving

REFUSED = "Resource not accessible by integration"
LIMITED = "API rate limit exceeded for installation ID 20433984."
# As Azure's storage answers who sends it the token of another house.
_AZURE = b"<?xml version='1.0' encoding='utf-8'?><Error><Code>InvalidAuthenticationInfo</Code></Error>"


class Answer(NamedTuple):
    """What is answered."""

    status: int
    body: Any
    headers: dict[str, str]


@contextmanager
def serving_api(state: State) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1; gives the address of the API."""
    with serving(type("Handler", (_Handler,), {"state": state})) as host:
        state.api_url = f"http://{host}"
        yield state.api_url


class _Handler(BaseHTTPRequestHandler):
    state: State
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if url.path.startswith("/_blobs/"):
            hits = [fault for fault in self.state.faults if fault.hits(f"{self.command} {self.path}")]
            answer = self._blob(url.path)
            if hits and hits[0].kind == "status":
                answer = _error(hits[0].status, "Server Error")
            elif hits and hits[0].kind == "other" and isinstance(answer.body, bytes):
                answer = answer._replace(body=answer.body[:-1] + bytes([answer.body[-1] ^ 1]))
            self._send(answer, cut=bool(hits) and hits[0].kind == "cut")
            return
        with self.state.lock:
            answer = self._api(url.path, {key: values[-1] for key, values in parse_qs(url.query).items()}, data)
            limits = {
                "x-ratelimit-limit": str(self.state.limit),
                "x-ratelimit-remaining": str(max(0, self.state.limit - self.state.spent)),
                "x-ratelimit-used": str(self.state.spent),
                "x-ratelimit-reset": str(self.state.reset),
                "x-ratelimit-resource": "core",
            }
        self._send(answer._replace(headers=answer.headers | limits))

    def _send(self, answer: Answer, *, cut: bool = False) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        if answer.status not in (204, 304):
            if "Content-Type" not in answer.headers:
                self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if answer.status not in (204, 304):
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def _blob(self, path: str) -> Answer:
        # Another house: only under its own name, and with nobody's token.
        if not self.headers.get("Host", "").startswith("localhost:"):
            return _error(404, "Not Found")
        if "Authorization" in self.headers:
            return Answer(400, _AZURE, {"Content-Type": "application/xml"})
        file = self.state.blobs.pop(path.removeprefix("/_blobs/"), None)  # such an address is good for a minute
        return Answer(200, file.read_bytes(), {"Content-Type": "application/zip"}) if file else _error(404, "Not Found")

    def _api(self, path: str, query: dict[str, str], data: bytes) -> Answer:
        state, request = self.state, f"{self.command} {self.path}"
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        grant = state.tokens.get(token) if kind.lower() in ("bearer", "token") else None
        if grant:
            state.run_of(grant.run).requests.append(f"{grant.job}: {request}")
        hits = [fault for fault in state.faults if fault.hits(request)]
        if hits:
            return _error(hits[0].status, "Server Error")
        if grant is None:
            return _error(401, "Bad credentials" if token else "Requires authentication")
        if state.reset <= time.time():
            state.reset, state.spent = int(time.time()) + 3600, 0
        if state.spent >= state.limit:
            return _error(403, LIMITED)
        answer = self._route(path, query, data, grant)
        if answer.status == 200 and self.command == "GET":
            tag = f'W/"{hashlib.sha256(json.dumps(answer.body).encode()).hexdigest()}"'
            if self.headers.get("If-None-Match") == tag:
                return Answer(304, b"", {"ETag": tag})
            answer.headers["ETag"] = tag
        state.spent += 1
        return answer

    def _route(self, path: str, query: dict[str, str], data: bytes, grant: Grant) -> Answer:
        prefix = f"/repos/{self.state.repository}"
        if not path.lower().startswith(prefix.lower() + "/"):
            return _error(404, "Not Found")
        for method, pattern, permission, level, action in _ROUTES:
            found = re.fullmatch(pattern, path[len(prefix) :])
            if found is None or method != self.command:
                continue
            if not grant.may(permission, level):
                return _error(403, REFUSED)
            try:
                body = json.loads(data) if data else {}
            except ValueError:
                return _error(400, "Problems parsing JSON")
            return action(_Request(self.state, grant, [unquote(part) for part in found.groups()], query, body))
        return _error(404, "Not Found")


class _Request(NamedTuple):
    state: State
    grant: Grant
    parts: list[str]
    query: dict[str, str]
    body: Any

    def paged(self, name: str, rows: list[dict[str, Any]], path: str) -> Answer:
        """A page of a list, with the addresses of its neighbours."""
        size, page = max(1, min(int(self.query.get("per_page", "30")), 100)), int(self.query.get("page", "1"))
        last = max(1, -(-len(rows) // size))
        more = "".join(f"&{key}={value}" for key, value in self.query.items() if key not in ("per_page", "page"))
        address = f"{self.state.api_url}/repos/{self.state.repository}{path}?per_page={size}{more}&page="
        links = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        wanted = ("next", "last") if page == 1 else ("prev", "first") if page >= last else tuple(links)
        link = ", ".join(f'<{address}{links[rel]}>; rel="{rel}"' for rel in wanted)
        return Answer(200, {"total_count": len(rows), name: rows[(page - 1) * size : page * size]}, {"Link": link} if last > 1 else {})

    def record(self, kind: str, target: str, answer: Answer) -> Answer:
        """Keep what was done."""
        body = self.body if isinstance(self.body, dict) else {"value": self.body}
        self.state.run_of(self.grant.run).calls.append(Call(kind=kind, target=target, body=body, job=self.grant.job))
        return answer


def _error(status: int, message: str) -> Answer:
    return Answer(status, {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}, {})


def _time(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _artifact(state: State, run: int, artifact: Artifact) -> dict[str, Any]:
    url = f"{state.api_url}/repos/{state.repository}/actions/artifacts/{artifact.id}"
    return {
        "id": artifact.id,
        "name": artifact.name,
        "size_in_bytes": artifact.size,
        "url": url,
        "archive_download_url": f"{url}/zip",
        "expired": False,
        "digest": artifact.digest,
        "created_at": _time(artifact.created),
        "updated_at": _time(artifact.created),
        "workflow_run": {"id": run, "head_sha": state.run_of(run).sha},
    }


def _artifacts(ask: _Request) -> Answer:
    run = ask.state.runs.get(int(ask.parts[0]))
    if run is None:
        return _error(404, "Not Found")
    wanted = [one for one in reversed(run.artifacts) if ask.query.get("name") in (None, one.name)]
    return ask.paged("artifacts", [_artifact(ask.state, run.id, one) for one in wanted], f"/actions/runs/{run.id}/artifacts")


def _zip(ask: _Request) -> Answer:
    for run in ask.state.runs.values():
        for artifact in run.artifacts:
            if artifact.id == int(ask.parts[0]):
                key = secrets.token_hex(16)
                ask.state.blobs[key] = artifact.path
                port = urlsplit(ask.state.api_url).port
                return Answer(302, b"", {"Location": f"http://localhost:{port}/_blobs/{key}?sig={secrets.token_hex(8)}"})
    return _error(404, "Not Found")


def _jobs(ask: _Request) -> Answer:
    run = ask.state.runs.get(int(ask.parts[0]))
    attempt = int(ask.parts[1]) if len(ask.parts) > 1 else run.attempt if run else 0
    if run is None or not 1 <= attempt <= run.attempt:
        return _error(404, "Not Found")
    everything = len(ask.parts) == 1 and ask.query.get("filter") == "all"
    rows = [_job(ask.state, run.id, row) for row in run.jobs if everything or row.attempt == attempt]
    middle = f"/attempts/{attempt}" if len(ask.parts) > 1 else ""
    return ask.paged("jobs", rows, f"/actions/runs/{run.id}{middle}/jobs")


def _job(state: State, run: int, row: JobRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "run_id": run,
        "run_attempt": row.attempt,
        "head_sha": state.run_of(run).sha,
        "name": row.name,
        "status": row.status,
        "conclusion": row.conclusion,
        "created_at": _time(row.created),
        "started_at": _time(row.started or row.created),
        "completed_at": _time(row.ended),
        "labels": row.labels,
        "workflow_name": state.run_of(run).workflow,
        "steps": [{"name": f"step {at}", "conclusion": conclusion} for at, conclusion in enumerate(row.steps)],
        "html_url": f"{state.server_url}/{state.repository}/actions/runs/{run}/job/{row.id}",
    }


def _dispatch(ask: _Request) -> Answer:
    path = ask.state.folder / ".github/workflows" / ask.parts[0]
    if not path.is_file():
        return _error(404, "Not Found")
    try:
        triggers = load_workflow(path, ask.parts[0]).triggers
    except WorkflowError as error:
        return _error(422, str(error))
    if "workflow_dispatch" not in triggers:
        return _error(422, "Workflow does not have 'workflow_dispatch' trigger")
    if "ref" not in ask.body:
        return _error(422, 'Invalid request.\n\n"ref" wasn\'t supplied.')
    unknown = ask.body.get("inputs", {}).keys() - (triggers["workflow_dispatch"].get("inputs") or {}).keys()
    if unknown:
        return _error(422, f"Unexpected inputs provided: {json.dumps(sorted(unknown))}")
    return ask.record("dispatch", ask.parts[0], Answer(204, b"", {}))


def _pages(ask: _Request) -> Answer:
    return _error(404, "Not Found") if ask.state.pages is None else Answer(200, ask.state.pages, {})


def _workflows(ask: _Request) -> Answer:
    files = sorted((ask.state.folder / ".github/workflows").glob("*.yml"))
    found = [
        {"id": at, "name": path.stem, "path": f".github/workflows/{path.name}", "state": ask.state.switched.get(path.name, "active")}
        for at, path in enumerate(files, 1)
    ]
    return Answer(200, {"total_count": len(found), "workflows": found}, {})


def _enable(ask: _Request) -> Answer:
    return ask.record("enable", ask.parts[0], Answer(204, b"", {}))


def _comment(ask: _Request) -> Answer:
    return ask.record("comment", ask.parts[0], Answer(201, {"id": ask.state.new_id(), "body": ask.body.get("body")}, {}))


def _label(ask: _Request) -> Answer:
    return ask.record("label" if len(ask.parts) == 1 else "unlabel", "/".join(ask.parts), Answer(200, [], {}))


_ROUTES: tuple[tuple[str, str, str, str, Callable[[_Request], Answer]], ...] = (
    ("GET", r"/actions/runs/(\d+)/artifacts", "actions", "read", _artifacts),
    ("GET", r"/actions/artifacts/(\d+)/zip", "actions", "read", _zip),
    ("GET", r"/actions/runs/(\d+)/jobs", "actions", "read", _jobs),
    ("GET", r"/actions/runs/(\d+)/attempts/(\d+)/jobs", "actions", "read", _jobs),
    ("POST", r"/actions/workflows/([^/]+)/dispatches", "actions", "write", _dispatch),
    ("GET", r"/actions/workflows", "actions", "read", _workflows),
    ("PUT", r"/actions/workflows/([^/]+)/enable", "actions", "write", _enable),
    ("POST", r"/issues/(\d+)/comments", "issues", "write", _comment),
    ("POST", r"/issues/(\d+)/labels", "issues", "write", _label),
    ("DELETE", r"/issues/(\d+)/labels/([^/]+)", "issues", "write", _label),
    ("GET", r"/pages", "pages", "read", _pages),
)
