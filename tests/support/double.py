"""An in-process registry that speaks the distribution-spec, and misbehaves where it is told to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags)/(?P<rest>.*)")


@dataclass(slots=True)
class Fault:
    """What goes wrong, for which requests (a regular expression over `METHOD /path`), and how often.

    kinds: `status` answers with that status; `reset` drops the connection unanswered; `lost` does the work and drops the
    connection; `truncate` sends half the body; `corrupt` flips a byte of it; `slow` drips it.
    """

    match: str
    kind: str
    status: int = 503
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""
    message: str = ""
    body: bytes | None = None


@dataclass(slots=True)
class RegistryDouble:
    """The registry's contents and its record of what was asked. Tags come in pages of `page`, the last of each page again."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    page: int = 100
    host: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, request: str) -> Fault | None:
        """Note a request; give the fault that it meets, if any."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.match, request):
                    fault.times -= 1
                    return fault
        return None

    def count(self, pattern: str) -> int:
        """How many requests were like that."""
        return sum(1 for request in self.requests if re.search(pattern, request))


@contextmanager
def serving_double() -> Iterator[RegistryDouble]:
    """Serve an empty double on a free port of 127.0.0.1."""
    double = RegistryDouble()
    handler = type("Handler", (_Handler,), {"double": double})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    double.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    double: RegistryDouble
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Headers and body in one segment: without it a delayed acknowledgement costs 40 ms a request.
    wbufsize = 65536

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        fault = self.double.fault(f"{self.command} {self.path}")
        with self.double.lock:
            self.double.authorizations.append(self.headers.get("Authorization", ""))
        if fault and fault.kind == "reset":
            self._drop()
            return
        if fault and fault.kind == "status":
            errors = {"errors": [{"code": fault.code or "UNKNOWN", "message": fault.message}]}
            body = json.dumps(errors).encode() if fault.body is None else fault.body
            self._answer(fault.status, body, dict(fault.headers))
            return
        status, answer, headers = self._do(body)
        if fault and fault.kind == "lost":
            self._drop()
            return
        if fault and fault.kind == "corrupt" and answer:
            at = len(answer) // 2
            answer = answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :]
        self._answer(status, answer, headers, fault)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str], fault: Fault | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.kind == "truncate":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self._drop()
            return
        if fault and fault.kind == "slow":
            for at in range(0, len(body), max(1, len(body) // 5)):
                self.wfile.write(body[at : at + max(1, len(body) // 5)])
                self.wfile.flush()
                time.sleep(0.02)
            return
        self.wfile.write(body)

    def _do(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        url = urlsplit(self.path)
        found = _PATH.fullmatch(url.path)
        if found is None:
            return (200, b"{}", {}) if url.path == "/v2/" else self._error(404, "NAME_UNKNOWN")
        with self.double.lock:
            match found["kind"]:
                case "tags":
                    return self._tags(found["name"], parse_qs(url.query))
                case "blobs":
                    return self._blob(found["name"], found["rest"], parse_qs(url.query), body)
                case _:
                    return self._manifest(found["rest"], body)

    def _tags(self, name: str, query: dict[str, list[str]]) -> tuple[int, bytes, dict[str, str]]:
        if not self.double.tags:
            return self._error(404, "NAME_UNKNOWN")
        tags = sorted(self.double.tags)
        last = query.get("last", [""])[0]
        rest = [tag for tag in tags if tag >= last]  # the last one of the page before comes again
        page, more = rest[: self.double.page + 1], rest[self.double.page + 1 :]
        headers = {"Link": f'</v2/{name}/tags/list?last={page[-1]}&n={self.double.page}>; rel="next"'} if more else {}
        return 200, json.dumps({"name": name, "tags": page}).encode(), headers

    def _blob(self, name: str, rest: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if rest == "uploads/" and self.command == "POST":
            return 202, b"", {"Location": f"/v2/{name}/blobs/uploads/{uuid.uuid4()}?state=secret-state"}
        if rest.startswith("uploads/"):
            digest = query.get("digest", [""])[0]
            if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
                return self._error(400, "DIGEST_INVALID")
            self.double.blobs[digest] = body
            return 201, b"", {"Docker-Content-Digest": digest}
        data = self.double.blobs.get(rest)
        if data is None:
            return self._error(404, "BLOB_UNKNOWN")
        if self.command == "HEAD":
            return 200, b"", {"Content-Length": str(len(data))}
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            return 206, data[int(asked[1]) :], {}
        return 200, data, {}

    def _manifest(self, reference: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if self.command == "PUT":
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            manifest = json.loads(body)
            for blob in [*manifest.get("layers", []), *([manifest["config"]] if "config" in manifest else [])]:
                if blob["digest"] not in self.double.blobs:
                    return self._error(400, "MANIFEST_BLOB_UNKNOWN")
            self.double.manifests[digest] = (self.headers.get("Content-Type", ""), body)
            if not reference.startswith("sha256:"):
                self.double.tags[reference] = digest
            return 201, b"", {"Docker-Content-Digest": digest}
        digest = self.double.tags.get(reference, reference)
        found = self.double.manifests.get(digest)
        if found is None:
            return self._error(404, "MANIFEST_UNKNOWN")
        return 200, found[1], {"Content-Type": found[0], "Docker-Content-Digest": digest}

    def _error(self, status: int, code: str) -> tuple[int, bytes, dict[str, str]]:
        return status, json.dumps({"errors": [{"code": code, "message": "from the double"}]}).encode(), {}
