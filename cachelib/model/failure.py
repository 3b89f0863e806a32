"""A failed build as the cache remembers it: since when, how often, and when it is tried again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cachelib.model.errors import FormatError
from cachelib.model.outcome import Built, Failed, Reused
from cachelib.model.record import Origin, Record
from cachelib.model.spec import check_hash

#: Days from a failure to the next try: doubled with each failure, up to this.
LONGEST_WAIT = 14
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A spec whose last build failed. `since` and `last` are the first and the last failure in a row (RFC 3339, UTC).

    `origin` tells what was built from, `log` and `spec` are the digests of its log and of its concrete spec in the registry, both
    gzipped; empty where there is none.
    """

    hash: str
    label: str
    phase: str
    message: str
    error_lines: tuple[str, ...] = ()
    since: str
    last: str
    times: int = 1
    origin: Origin = field(default_factory=Origin)
    log: str = ""
    spec: str = ""

    def next_try(self) -> datetime:
        """When it is tried again: the recipe is the same (another one has another DAG hash), so ever more rarely."""
        return _moment(self.last) + timedelta(days=min(2 ** (self.times - 1), LONGEST_WAIT))

    def told(self) -> str:
        """The failure in words."""
        often = "once" if self.times == 1 else f"{self.times} times"
        return f"failed since {self.since[:10]} ({often}, last in phase {self.phase})"

    def json(self) -> dict[str, Any]:
        return {
            "hash": self.hash, "label": self.label, "phase": self.phase, "message": self.message, "errorLines": list(self.error_lines),
            "since": self.since, "last": self.last, "times": self.times, "origin": asdict(self.origin), "log": self.log, "spec": self.spec,
        }  # fmt: skip


def parse_failures(data: Mapping[str, Any]) -> dict[str, Failure]:
    """Read the JSON of all failures, by DAG hash; raise FormatError where it is none. A malformed one costs no other."""
    items = data.get("failures")
    if not isinstance(items, list):
        raise FormatError("the failures are no list")
    found = {}
    for item in items:
        with suppress(KeyError, TypeError, ValueError, AttributeError, OverflowError, FormatError):
            failure = _failure(item)
            found[failure.hash] = failure
    return found


def _failure(item: Mapping[str, Any]) -> Failure:
    return Failure(
        hash=check_hash(item["hash"], "a failure"), label=str(item["label"]), phase=str(item["phase"]),
        message=str(item["message"]), error_lines=tuple(str(line) for line in item["errorLines"]),
        since=_time(item["since"]), last=_time(item["last"]), times=max(1, min(int(item["times"]), 1000)),
        origin=Origin(**{key: str(value) for key, value in item["origin"].items()}), log=str(item["log"]), spec=str(item["spec"]),
    )  # fmt: skip


def merge_failures(known: Mapping[str, Failure], records: Iterable[Record], published: Set[str]) -> dict[str, Failure]:
    """What is failing after a run: what was known, minus what was built or is published, plus what failed anew.

    The record of an attempt that is known already changes nothing, so that the same run may be told twice.
    """
    found = dict(known)
    for record in records:
        match record.outcome:
            case Failed() as failed:
                before, at = found.get(record.hash), record.origin.created
                if not _is_time(at) or (before is not None and before.last >= at):
                    continue
                found[record.hash] = Failure(
                    hash=record.hash, label=f"{record.name}@{record.version}/{record.hash[:7]}", phase=failed.phase, message=failed.message,
                    error_lines=failed.error_lines, since=before.since if before else at, last=at,
                    times=before.times + 1 if before else 1, origin=record.origin,
                )  # fmt: skip
            case Built() | Reused():
                found.pop(record.hash, None)
    return {h: failure for h, failure in found.items() if h not in published}


def _is_time(text: str) -> bool:
    """Whether a text is a moment of this century: who hands on another one would have a spec never tried again."""
    try:
        return 2000 <= _moment(text).year < 2100
    except (FormatError, ValueError):
        return False


def _time(text: str) -> str:
    if not _is_time(text):
        raise FormatError(f"{text!r} is no time of this century")
    return text


def _moment(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise FormatError(f"{text!r} is no time")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
