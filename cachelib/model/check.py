"""What is found out of a set-up: facts, or why they could not be had, and verdicts on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cachelib.model.errors import CacheError


class Verdict(StrEnum):
    """What a check comes to."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: what, how it is, and, where it is not right, what to do and where.

    `exit_code` is what a problem has the process exit with.
    """

    name: str
    verdict: Verdict
    words: str
    remedy: str = ""
    link: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A fact that could not be had, and why."""

    reason: str


def ok(name: str, words: str, remedy: str = "") -> Check:
    """It is as it should be; `remedy` is what may come next."""
    return Check(name=name, verdict=Verdict.OK, words=words, remedy=remedy)


def warning(name: str, words: str, remedy: str, link: str = "") -> Check:
    """It works, or may work, but not as it should."""
    return Check(name=name, verdict=Verdict.WARNING, words=words, remedy=remedy, link=link)


def problem(name: str, kind: type[CacheError], words: str, remedy: str, link: str = "") -> Check:
    """It keeps the cache from working; `kind` is the error that it would come to, whose exit code is taken."""
    return Check(name=name, verdict=Verdict.PROBLEM, words=words, remedy=remedy, link=link, exit_code=kind.exit_code)


def unchecked(name: str, why: str | Unknown) -> Check:
    """It could not be looked at."""
    return Check(name=name, verdict=Verdict.UNCHECKED, words=why.reason if isinstance(why, Unknown) else why)
