"""Upstreams: caches that this one stands on, what they are said to hold, and what is remembered of that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError
from cachelib.model.oci import compact_json, parse_json
from cachelib.model.spec import check_hash
from cachelib.model.text import printable

#: How Spack names a mirror; of a name and a password nothing is taken, nor what YAML or a shell would take for more than an address.
UPSTREAM = r"^(oci|oci\+http|https?|file)://[A-Za-z0-9._~:/%+,=-]*[A-Za-z0-9/_-]$(?!\n)"
#: Of the file that remembers an upstream; another is read anew.
_VERSION = 2
# Spack, spec_parser.py, IDENTIFIER, and what names of packages of other times had.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: Bytes of that file at most: two million builds fit.
KEPT_LIMIT = 256 * 1024 * 1024
#: Builds that an upstream may hold: Spack's own public cache of all packages has some hundred thousand.
MOST = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A build that an upstream has: bytes of its tarball and seconds that it took, where the upstream tells."""

    size: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What an upstream holds, by DAG hash, as it was `read` (RFC 3339); `digest` is that of the index that says so.

    `site` and `source` are web addresses that it tells of itself; `strangers` counts what another line of Spack built, by the line:
    that is not among the builds. `names` are those of the packages, as far as it tells them. `told` says whether it tells which Spack
    built them. One that was never read has nothing, and no digest.
    """

    url: str
    digest: str = ""
    read: str = ""
    offers: Mapping[str, Offer] = field(default_factory=dict)
    site: str = ""
    source: str = ""
    strangers: Mapping[str, int] = field(default_factory=dict)
    told: bool = False
    names: frozenset[str] = frozenset()

    def json(self) -> bytes:
        """What is remembered of it."""
        about = {
            "version": _VERSION, "url": self.url, "digest": self.digest, "read": self.read, "site": self.site, "source": self.source,
            "strangers": dict(self.strangers), "told": self.told, "names": sorted(self.names),
        }  # fmt: skip
        return compact_json({**about, "offers": {h: [one.size, one.seconds] for h, one in sorted(self.offers.items())}})


def parse_upstream(data: bytes) -> Upstream:
    """Read what is remembered of an upstream; raise FormatError where it is of another version, or damaged."""
    what = "what is remembered of an upstream"
    found = parse_json(data, what)
    try:
        if found["version"] != _VERSION:
            raise FormatError(f"{what} is of version {found['version']!r}")
        return Upstream(
            url=str(found["url"]), digest=str(Digest.parse(found["digest"])), read=str(found["read"]), site=str(found["site"]),
            source=str(found["source"]), told=found["told"] is True,
            strangers={printable(str(line)): int(count) for line, count in found["strangers"].items()},
            names=frozenset(package_name(name) for name in found["names"]),
            offers={check_hash(h, what): _offer(*one) for h, one in found["offers"].items()},
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{what} is malformed: {error!r}"[:300]) from None


def package_name(text: object) -> str:
    """A package's name as somebody else tells it; nothing where it can't be one."""
    return text if isinstance(text, str) and _NAME.fullmatch(text) else ""


def _offer(size: Any, seconds: Any) -> Offer:
    return Offer(size=None if size is None else int(size), seconds=None if seconds is None else float(seconds))


def holders(upstreams: Iterable[Upstream]) -> dict[str, str]:
    """Which upstream has what, the first that does: their addresses by DAG hash."""
    found: dict[str, str] = {}
    for one in upstreams:
        for h in one.offers:
            found.setdefault(h, one.url)
    return found


def upstream_mirrors(urls: Sequence[str], prefix: str = "upstream") -> dict[str, str]:
    """The upstreams as mirrors of a Spack, by name, in their order."""
    return {f"{prefix}-{number}" if number > 1 else prefix: url for number, url in enumerate(urls, 1)}
