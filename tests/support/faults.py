"""What can go wrong on the road to a registry: one vocabulary, which `double` and `proxy` act out."""

from __future__ import annotations

import json
import math
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

#: What no content has as its digest.
WRONG = "sha256:" + "0" * 64


class Kind(StrEnum):
    """What goes wrong with a request. Of those up to RESET the registry learns nothing."""

    STATUS = "status"  # `status`, with `headers` and `code`, `message` or `body`
    LIMIT = "limit"  # 429 with Retry-After
    GHCR_LIMIT = "ghcr-limit"  # 429 as ghcr.io says it: the time is in the message, and in no header
    SECONDARY_LIMIT = "secondary-limit"  # 403, GitHub's other limit
    MISSING = "missing"  # 404, as if gone between list and get
    EXPIRED = "expired"  # 401 with a challenge, for everybody, until a new token is asked for
    RESET = "reset"  # RST, before an answer
    LOST = "lost"  # carried out, then the connection ends without an answer
    TRUNCATE = "truncate"  # the connection ends in the middle of the body
    CORRUPT = "corrupt"  # one bit in the middle of the body is another
    WRONG_DIGEST = "wrong-digest"  # Docker-Content-Digest lies, where it is told
    SLOW = "slow"  # the body drips: five pieces, `seconds` after each


#: What a client is to outlive, wherever it happens.
TEMPORARY = (
    Kind.STATUS, Kind.LIMIT, Kind.GHCR_LIMIT, Kind.SECONDARY_LIMIT, Kind.EXPIRED, Kind.RESET, Kind.LOST, Kind.TRUNCATE, Kind.SLOW,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Make an answer as registries refuse (distribution-spec, Error Codes)."""
    return Answer(status, headers or {}, json.dumps({"errors": [{"code": code, "message": message}]}).encode())


def ghcr_limit(seconds: float, per_minute: int) -> Answer:
    """Make the answer of ghcr.io to more requests than it allows."""
    return refusal(429, "TOOMANYREQUESTS", f"retry-after: {seconds * 1000:.6g}ms, allowed: {per_minute}/minute")


@dataclass(slots=True)
class Fault:
    """What goes wrong, for which requests (a regular expression over `METHOD /path?query`), and how often.

    `kind` is a Kind or its value. `times` counts down as the fault is met: it is the one field that changes.
    `seconds` is how long a limit asks to wait (Retry-After: rounded up), or the pause between drips.
    """

    match: str
    kind: str
    status: int = 503
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""
    message: str = ""
    body: bytes | None = None
    seconds: float = 0.02

    def __post_init__(self) -> None:
        self.kind = Kind(self.kind)

    def answer(self) -> Answer | None:
        """Give what is answered in place of the registry, if anything is."""
        match self.kind:
            case Kind.STATUS:
                made = refusal(self.status, self.code or "UNKNOWN", self.message)
            case Kind.LIMIT:
                made = refusal(429, "TOOMANYREQUESTS", "slow down", {"Retry-After": str(math.ceil(self.seconds))})
            case Kind.GHCR_LIMIT:
                made = ghcr_limit(self.seconds, 2000)
            case Kind.SECONDARY_LIMIT:
                made = refusal(403, "DENIED", "You have exceeded a secondary rate limit")
            case Kind.MISSING:
                made = refusal(404, "MANIFEST_UNKNOWN", "gone")
            case _:
                return None
        return Answer(made.status, {**made.headers, **self.headers}, made.body if self.body is None else self.body)

    def spoil(self, blocks: Iterable[bytes], length: int | None) -> Iterator[bytes]:
        """Do to a body of `length` bytes (of its first block, where nobody knows) what this fault does to bodies."""
        pieces = iter(blocks)
        first = next(pieces, b"")
        size = length or len(first)
        pieces = _with(first, pieces)
        match self.kind:
            case Kind.TRUNCATE:
                return _cut(pieces, size // 2)
            case Kind.CORRUPT:
                return _flip(pieces, size // 2)
            case Kind.SLOW:
                return _drip(pieces, max(1, size // 5), self.seconds)
            case _:
                return pieces


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _cut(blocks: Iterator[bytes], at: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[:at]
        at -= len(block)
        if at <= 0:
            return


def _flip(blocks: Iterator[bytes], at: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :] if 0 <= at < len(block) else block
        at -= len(block)


def _drip(blocks: Iterator[bytes], step: int, seconds: float) -> Iterator[bytes]:
    done = 0
    for block in blocks:
        while block:
            piece, block = block[: step - done % step], block[step - done % step :]
            done += len(piece)
            yield piece
            if done % step == 0:
                time.sleep(seconds)


class TokenDesk:
    """Gives tokens at /token to whoever asks, each good for `uses` requests and `seconds` (0: without end).

    Where not `required`, tokens are asked for only from the first `expire` on.
    `uses` below the number of a client's threads is no fair game: a token is used up before the last of them has tried it.
    """

    def __init__(self, *, required: bool = True, uses: int = 0, seconds: float = 0.0) -> None:
        self.required, self.issued, self.refused = required, 0, 0
        self._uses, self._seconds = uses or math.inf, seconds or math.inf
        self._token, self._left, self._born = "", 0.0, -math.inf
        self._lock = threading.Lock()

    @property
    def age(self) -> float:
        """Seconds since a token was last given."""
        return time.monotonic() - self._born

    def issue(self) -> Answer:
        """Make a token, which is the only good one from now on."""
        with self._lock:
            self._token, self._left, self._born = f"desk-{uuid.uuid4()}", self._uses, time.monotonic()
            self.issued += 1
            return Answer(200, {"Content-Type": "application/json"}, json.dumps({"token": self._token}).encode())

    def admit(self, authorization: str) -> bool:
        """Say whether a request may pass; it then has used its token once."""
        with self._lock:
            if not self.required:
                return True
            good = bool(self._token) and authorization == f"Bearer {self._token}" and self._left > 0 and self.age < self._seconds
            self._left -= good
            self.refused += not good
            return good

    def expire(self) -> None:
        """Let no token, and nobody without one, pass any more."""
        with self._lock:
            self.required, self._token = True, ""

    def challenge(self, host: str) -> Answer:
        """Make the answer to whom `admit` refuses (distribution, Token Authentication)."""
        where = {"Www-Authenticate": f'Bearer realm="http://{host}/token",service="{host}"'}
        return refusal(401, "UNAUTHORIZED", "the token is missing or has expired", where)


@dataclass(slots=True, kw_only=True)
class FaultPlan:
    """Which requests meet which fault: those of the list, and of the rest (of `only`, a pattern) a `share` one of `kinds`.

    What is drawn depends on `seed` and on the order in which requests come, and is never what no client could know how to
    take; what is listed is done as it is written. `met` counts what was met, by kind.
    """

    faults: list[Fault] = field(default_factory=list)
    share: float = 0.0
    kinds: tuple[Kind, ...] = TEMPORARY
    seed: int = 0
    only: str = "."
    seconds: float = 0.02
    tokens: TokenDesk = field(default_factory=lambda: TokenDesk(required=False))
    met: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def meet(self, request: str) -> Fault | None:
        """Give the fault that a request meets, if any."""
        with self._lock:
            fault = self._listed(request) or self._drawn(request)
            if fault is not None:
                self.met[fault.kind] += 1
            return fault

    def _listed(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.match, request):
                fault.times -= 1
                return fault
        return None

    def _drawn(self, request: str) -> Fault | None:
        if self.share <= 0 or not re.search(self.only, request) or self._random.random() >= self.share:
            return None
        kind = self._random.choice(self.kinds)
        return Fault(self.only, kind, seconds=self.seconds) if self._fair(kind, request) else None

    def _fair(self, kind: Kind, request: str) -> bool:
        match kind:
            case Kind.EXPIRED:  # no registry takes back a token that it has just given, nor wants one from who asks for one
                return self.tokens.age >= 1 and " /token" not in request
            case Kind.SECONDARY_LIMIT:  # it is told from a refusal by its message, and the answer to a HEAD has none
                return not request.startswith("HEAD ")
            case _:
                return True


class RateLimiter:
    """A token bucket: it fills evenly, `per_minute` in a minute, holds `burst`, and each request takes one."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self.per_minute = per_minute
        self._rate, self._burst = per_minute / 60, float(max(1, burst))
        self._held, self._then = self._burst, time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take one and return 0, or return the seconds until there will be one."""
        with self._lock:
            now = time.monotonic()
            self._held = min(self._burst, self._held + (now - self._then) * self._rate)
            self._then = now
            if self._held < 1:
                return (1 - self._held) / self._rate
            self._held -= 1
            return 0.0


def tag_page(tags: Iterable[str], path: str, last: str, size: int) -> Answer:
    """Make a page of a tag list; `last` comes again, as registries do whose list changes meanwhile."""
    rest = [tag for tag in sorted(tags) if tag >= last]
    page, more = rest[: size + 1], rest[size + 1 :]
    headers = {"Link": f'<{path}?last={page[-1]}&n={size}>; rel="next"'} if more else {}
    name = path.removeprefix("/v2/").removesuffix("/tags/list")
    return Answer(200, headers | {"Content-Type": "application/json"}, json.dumps({"name": name, "tags": page}).encode())
