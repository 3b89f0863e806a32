"""An in-process registry that speaks the distribution-spec and misbehaves where it is told to, and the server under it."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.faults import WRONG, Answer, Fault, FaultPlan, Kind, tag_page

__all__ = ["Fault", "FaultyHandler", "RegistryDouble", "serving", "serving_double"]

BLOCK = 1024 * 1024
#: SO_LINGER for a connection whose end is a RST.
RESET = struct.pack("ii", 1, 0)
_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags)/(?P<rest>.*)")


@dataclass(slots=True)
class RegistryDouble:
    """The registry's contents and its record of what was asked. Tags come in pages of `page`, the last of each page again."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    plan: FaultPlan = field(default_factory=FaultPlan)
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    page: int = 100
    host: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def faults(self) -> list[Fault]:
        """The faults of the plan, one by one."""
        return self.plan.faults

    @faults.setter
    def faults(self, faults: list[Fault]) -> None:
        self.plan.faults = faults

    def count(self, pattern: str) -> int:
        """How many requests were like that."""
        return sum(1 for request in self.requests if re.search(pattern, request))


@contextmanager
def serving_double(plan: FaultPlan | None = None) -> Iterator[RegistryDouble]:
    """Serve an empty double on a free port of 127.0.0.1."""
    double = RegistryDouble(plan=plan or FaultPlan())
    with serving(type("Handler", (_Handler,), {"double": double, "plan": double.plan})) as double.host:
        yield double


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1, and end every connection in the end; gives the host."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        server.end_connections()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, *arguments: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Not the shutdown that comes first elsewhere: its FIN would stand before a reset.
        self._open.discard(request)
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # That one side goes away in the middle is what these servers are for.
        if not isinstance(sys.exc_info()[1], OSError | EOFError | HTTPException):
            super().handle_error(request, client_address)

    def end_connections(self) -> None:
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class FaultyHandler(BaseHTTPRequestHandler):
    """Acts out a plan's faults; a subclass says what is done when nothing is wrong."""

    plan: FaultPlan
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Headers and body in one segment: without it a delayed acknowledgement costs 40 ms a request.
    wbufsize = 65536

    def note(self, request: str) -> Answer | None:
        """Note a request; give an answer to turn it away with, or none."""
        raise NotImplementedError

    def respond(self, fault: Fault | None) -> None:
        """Carry the request out, and `send` what comes of it."""
        raise NotImplementedError

    def serve(self) -> None:
        """Serve a request, or what goes wrong with it."""
        request, host, desk = f"{self.command} {self.path}", self.headers.get("Host", ""), self.plan.tokens
        asking = desk.required and urlsplit(self.path).path == "/token"
        answer, fault = self.note(request), None
        if answer is None and not asking and not desk.admit(self.headers.get("Authorization", "")):
            answer = desk.challenge(host)
        if answer is None:
            fault = self.plan.meet(request)
        if fault and fault.kind == Kind.RESET:
            self.drop(reset=True)
            return
        if fault and fault.kind == Kind.EXPIRED:
            desk.expire()
            answer = desk.challenge(host)
        answer = answer or (fault and fault.answer()) or (desk.issue() if asking else None)
        if answer is None:
            self.respond(fault)
            return
        for _ in self.body():
            pass  # who sends a body listens only afterwards
        self.send_answer(answer, fault)

    do_DELETE = do_GET = do_HEAD = do_PATCH = do_POST = do_PUT = serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def handle_expect_100(self) -> bool:
        """Let a client go on that asked to; what is in the buffer doesn't reach it."""
        told = super().handle_expect_100()
        self.wfile.flush()
        return told

    def body(self) -> Iterator[bytes]:
        """Give the request's body in blocks; raise EOFError where it breaks off."""
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            yield from self._exactly(int(self.headers.get("Content-Length") or 0))
            return
        while size := int(self._line().split(b";")[0], 16):
            yield from self._exactly(size)
            self._line()
        while self._line().strip():
            pass  # trailers

    def _line(self) -> bytes:
        line = self.rfile.readline(65536)
        if not line:
            raise EOFError("the client went away")
        return line

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            block: bytes = self.rfile.read1(min(size, BLOCK))
            if not block:
                raise EOFError("the client went away")
            size -= len(block)
            yield block

    def drop(self, *, reset: bool = False) -> None:
        """End the connection; with a RST where `reset`."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def send_answer(self, answer: Answer, fault: Fault | None = None) -> None:
        """Send a whole answer, with what the fault does to it."""
        self.send(answer.status, answer.headers.items(), [answer.body], len(answer.body), fault)

    def send(
        self, status: int, headers: Iterable[tuple[str, str]], blocks: Iterable[bytes], length: int | None, fault: Fault | None = None
    ) -> None:
        """Send an answer block by block, with what the fault does to it; `length` is None where nobody knows it."""
        kind = fault.kind if fault else None
        if kind == Kind.LOST:
            self.drop()
            return
        self.send_response_only(status)
        names = set()
        for key, value in headers:
            names.add(key.lower())
            self.send_header(key, WRONG if kind == Kind.WRONG_DIGEST and key.lower() == "docker-content-digest" else value)
        bodied = self.command != "HEAD" and status not in (204, 304)
        chunked = bodied and length is None
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif length is not None and "content-length" not in names:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if bodied:
            self._write(fault.spoil(blocks, length) if fault else blocks, chunked)
        if bodied and kind == Kind.TRUNCATE:
            self.drop()
        elif chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _write(self, blocks: Iterable[bytes], chunked: bool) -> None:
        for block in filter(None, blocks):
            self.wfile.write(b"%X\r\n%b\r\n" % (len(block), block) if chunked else block)
            self.wfile.flush()


class _Handler(FaultyHandler):
    double: RegistryDouble

    def note(self, request: str) -> Answer | None:
        with self.double.lock:
            self.double.requests.append(request)
            self.double.authorizations.append(self.headers.get("Authorization", ""))
        return None

    def respond(self, fault: Fault | None) -> None:
        status, body, headers = self._do(b"".join(self.body()))
        self.send_answer(Answer(status, headers, body), fault)

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
        page = tag_page(self.double.tags, f"/v2/{name}/tags/list", query.get("last", [""])[0], self.double.page)
        return page.status, page.body, dict(page.headers)

    def _blob(self, name: str, rest: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if rest == "uploads/" and self.command == "POST":
            mounted = query.get("mount", [""])[0]
            if mounted in self.double.blobs:
                return 201, b"", {"Docker-Content-Digest": mounted}
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
