"""Two proxies before any registry: one that makes faults of plain http and limits its rate, one that makes any road longer.

python -m tests.support.proxy --target 127.0.0.1:5000 --round-trip 0.08 --share 0.2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import parse_qs, urljoin, urlsplit

from tests.support.double import BLOCK, RESET, FaultyHandler, serving
from tests.support.faults import TEMPORARY, Answer, Fault, FaultPlan, Kind, RateLimiter, ghcr_limit, tag_page

# RFC 9110, Connection: these are said to the next one on the road, and to nobody behind it. Nor does anybody here wait for a 100.
_OF_THE_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host", "expect"})
_ADDRESSES = frozenset({"location", "link", "www-authenticate"})
_IDLE = 5.0  # seconds after which a connection that nobody used is not trusted to be open
_UNDER_WAY = 16 * 1024 * 1024  # bytes, in each direction of a delayed connection


@dataclass(slots=True)
class FaultProxy:
    """What a proxy has seen: requests (`METHOD /path?query`), those that its limit refused, bytes of bodies from clients and to them."""

    target: str
    plan: FaultPlan
    limiter: RateLimiter | None = None
    latency: float = 0.0
    page: int = 0
    host: str = ""
    requests: list[str] = field(default_factory=list)
    refused: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *, refused: int = 0, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Count something."""
        with self.lock:
            self.refused += refused
            self.bytes_in += bytes_in
            self.bytes_out += bytes_out


@contextmanager
def fault_proxy(
    target_host: str, plan: FaultPlan | None = None, *, requests_per_minute: int = 0, burst: int = 20, latency: float = 0.0, page: int = 0
) -> Iterator[FaultProxy]:
    """Serve what a registry at HOST:PORT (plain http) serves, with a plan's faults, on a free port of 127.0.0.1.

    Past `requests_per_minute` (a token bucket that holds `burst`) it answers as ghcr.io does: 429, the time to wait in the
    message alone. `latency` is in seconds for each request. Tag lists come in pages of `page`, if any, with duplicates.
    """
    limiter = RateLimiter(requests_per_minute, burst) if requests_per_minute else None
    proxy = FaultProxy(target_host, plan or FaultPlan(), limiter, latency, page)
    with serving(type("Handler", (_Handler,), {"proxy": proxy, "plan": proxy.plan})) as proxy.host:
        yield proxy


class _Handler(FaultyHandler):
    proxy: FaultProxy
    _used = 0.0

    def setup(self) -> None:
        super().setup()
        self._upstream = HTTPConnection(self.proxy.target, timeout=120, blocksize=BLOCK)

    def finish(self) -> None:
        with closing(self._upstream):
            super().finish()

    def note(self, request: str) -> Answer | None:
        self.proxy.requests.append(request)
        time.sleep(self.proxy.latency)
        if (limiter := self.proxy.limiter) is None or not (wait := limiter.take()):
            return None
        self.proxy.add(refused=1)
        return ghcr_limit(wait, limiter.per_minute)

    def respond(self, fault: Fault | None) -> None:
        if self.proxy.page and self.command == "GET" and urlsplit(self.path).path.endswith("/tags/list"):
            self.send_answer(self._page(), fault)
            return
        with self._forward(self.path) as response:
            length = response.length if "Content-Length" in response.headers else None
            self.send(response.status, self._headers(response), self._blocks(response), length, fault)
        self._used = time.monotonic()

    def _forward(self, path: str) -> HTTPResponse:
        upstream, chunked = self._connection(), "Transfer-Encoding" in self.headers
        upstream.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        upstream.putheader("Host", self.proxy.target)
        for key, value in self.headers.items():
            if key.lower() not in _OF_THE_HOP and not value.startswith("Bearer desk-"):
                upstream.putheader(key, value)
        if chunked:
            upstream.putheader("Transfer-Encoding", "chunked")
        body = self._counted()
        with suppress(ConnectionError):  # it may answer before it has read all
            upstream.endheaders(body, encode_chunked=chunked)
        response = upstream.getresponse()
        for _ in body:
            pass  # who sends a body listens only afterwards
        return response

    def _connection(self) -> HTTPConnection:
        if time.monotonic() - self._used > _IDLE:
            self._upstream.close()
        if self._upstream.sock is None:
            self._upstream.connect()
        return self._upstream

    def _counted(self) -> Iterator[bytes]:
        for block in self.body():
            self.proxy.add(bytes_in=len(block))
            yield block

    def _blocks(self, response: HTTPResponse) -> Iterator[bytes]:
        while block := response.read1(BLOCK):
            self.proxy.add(bytes_out=len(block))
            yield block
        if response.length:
            raise EOFError("the registry broke off")

    def _headers(self, response: HTTPResponse) -> Iterator[tuple[str, str]]:
        # Addresses are to lead here by the name that the client knows: there may be another proxy before this one.
        here = f"http://{self.headers.get('Host', self.proxy.host)}"
        for key, value in response.headers.items():
            if key.lower() not in _OF_THE_HOP:
                yield key, value.replace(f"http://{self.proxy.target}", here) if key.lower() in _ADDRESSES else value

    def _page(self) -> Answer:
        url, tags = urlsplit(self.path), set[str]()
        path = url.path
        while path:  # the whole list, each time: it may have changed
            with self._forward(path) as response:
                data = response.read()
            if response.status != 200:
                return Answer(response.status, {"Content-Type": response.headers.get("Content-Type", "")}, data)
            tags.update(json.loads(data)["tags"] or ())
            link = response.headers.get("Link", "").partition("<")[2].partition(">")[0]
            path = urljoin(path, link) if link else ""
        answer = tag_page(tags, url.path, parse_qs(url.query).get("last", [""])[0], self.proxy.page)
        self.proxy.add(bytes_out=len(answer.body))
        return answer


class DelayProxy:
    """A longer road: every byte takes half a round trip more in its direction, and a connection one round trip more to come about.

    It parses nothing, so TLS passes. Up to 16 MiB are under way in each direction: 400 MB a second, 80 ms away.
    """

    def __init__(self, target: str, round_trip: float) -> None:
        self.round_trip, self.connections, self.host = round_trip, 0, ""
        self._target, self._port = target.rsplit(":", 1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, started: threading.Event, stopped: asyncio.Event) -> None:
        """Serve until stopped."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=BLOCK, backlog=512)
        self.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        await stopped.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers, whole = [writer], False
        try:
            await asyncio.sleep(self.round_trip)
            far_reader, far_writer = await asyncio.open_connection(self._target, int(self._port), limit=BLOCK)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as tasks:
                for line, near, far in ((_Line(self.round_trip / 2), reader, far_writer), (_Line(self.round_trip / 2), far_reader, writer)):
                    tasks.create_task(line.fill(near))
                    tasks.create_task(line.empty(far))
            whole = True
        except* OSError:
            pass  # one side is gone: the other one is told below
        finally:
            for each in writers:
                _end(each, whole)


def _end(writer: asyncio.StreamWriter, whole: bool) -> None:
    if whole:
        writer.close()
        return
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class _Line:
    """One direction of a connection: what goes in comes out `delay` seconds later, in order."""

    def __init__(self, delay: float) -> None:
        self._delay, self._held = delay, 0
        self._room = asyncio.Event()
        self._room.set()
        self._queue: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue()

    async def fill(self, reader: asyncio.StreamReader) -> None:
        """Take in what comes, up to the end or the error that ends it."""
        chunk: bytes | OSError = b"-"
        while chunk and isinstance(chunk, bytes):
            await self._room.wait()
            try:
                chunk = await reader.read(BLOCK)
                self._held += len(chunk)
            except OSError as error:
                chunk = error  # what came before it is still under way
            if self._held >= _UNDER_WAY:
                self._room.clear()
            self._queue.put_nowait((time.monotonic() + self._delay, chunk))

    async def empty(self, writer: asyncio.StreamWriter) -> None:
        """Give out what is due."""
        while True:
            due, chunk = await self._queue.get()
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if isinstance(chunk, OSError):
                raise chunk
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()
            self._held -= len(chunk)
            if self._held < _UNDER_WAY:
                self._room.set()


@contextmanager
def delay_proxy(target_host: str, round_trip: float) -> Iterator[DelayProxy]:
    """Put HOST:PORT `round_trip` seconds away, behind a free port of 127.0.0.1."""
    proxy, started = DelayProxy(target_host, round_trip), threading.Event()
    with asyncio.Runner() as runner:
        loop, stopped = runner.get_loop(), asyncio.Event()
        thread = threading.Thread(target=runner.run, args=(proxy.serve(started, stopped),))
        thread.start()
        started.wait()
        try:
            yield proxy
        finally:
            loop.call_soon_threadsafe(stopped.set)
            thread.join()


def main() -> None:
    """Run the proxies that the command line asks for, the delay in front, until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.support.proxy", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--target", required=True, metavar="HOST:PORT")
    add("--round-trip", type=float, default=0.0, metavar="SECONDS", help="of every exchange; works for TLS, alone")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="of every request")
    add("--requests-per-minute", type=int, default=0, help="answer 429, as ghcr.io does, to what is more")
    add("--burst", type=int, default=20, help="so many requests may come at once, for all that")
    add("--page", type=int, default=0, help="tags in one page of a list")
    add("--share", type=float, default=0.0, help="of the requests that meet a fault: 0.2 is every fifth")
    add("--kinds", nargs="+", type=Kind, default=TEMPORARY, choices=tuple(Kind), metavar="KIND", help=", ".join(Kind))
    add("--only", default=".", metavar="REGEX", help="what may meet one, as `METHOD /path?query`")
    add("--seed", type=int, default=0)
    asked = parser.parse_args()
    plan = FaultPlan(share=asked.share, kinds=tuple(asked.kinds), seed=asked.seed, only=asked.only)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        host = asked.target
        if asked.latency or asked.requests_per_minute or asked.page or asked.share:
            rest = {"requests_per_minute": asked.requests_per_minute, "burst": asked.burst, "page": asked.page}
            host = stack.enter_context(fault_proxy(host, plan, latency=asked.latency, **rest)).host
        if asked.round_trip:
            host = stack.enter_context(delay_proxy(host, asked.round_trip)).host
        print(host, flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
