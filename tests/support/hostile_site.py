"""A site in which everything that others wrote is hostile; and its twin, which is the same in harmless words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from cachelib.model.catalog import CatalogEntry, from_shard, to_shards
from cachelib.model.config import Site
from cachelib.model.failure import Failure, parse_failures
from cachelib.model.site import SiteImage
from cachelib.model.wanted import Wanted, parse_wanted
from cachelib.steps.image import PREFIX
from cachelib.steps.pages.failing import readable
from tests.support.hostile import HUGE, MARKED, ODD
from tests.support.mirrors import make_catalog, make_node

_OCI = "org.opencontainers.image."
#: Annotations that a page shows as they are, and those of which it takes only what is of their form.
FREE = (
    f"{_OCI}description",
    f"{_OCI}licenses",
    f"{PREFIX}stack",
    f"{PREFIX}spack.version",
    f"{PREFIX}packages.version",
    f"{PREFIX}maintainers",
)
STRICT = (
    f"{_OCI}url", f"{_OCI}source", f"{_OCI}revision", f"{_OCI}created", f"{PREFIX}spack.commit", f"{PREFIX}packages.commit", f"{PREFIX}build.run",
    f"{PREFIX}build.seconds",
)  # fmt: skip
#: Fields of a node that nobody checks, and those of a failure.
OPEN = ("value of a variant", "name of a variant", "flag", "package_hash", "annotation", "path of an external")
TOLD = ("label", "phase", "message", "errorLines", "stack", "spack_version", "log", "the log's text")
WANTED = ("request", "refused request", "reason of a refusal", "name of a wanted spec", "version", "target")
#: How many cases the site holds: every payload in every field.
CASES = (len(MARKED) + 1) * len((*FREE, *STRICT, *OPEN, *TOLD, *WANTED))

Word = Callable[[str, str], str]


def hostile(_: str, text: str) -> str:
    """The payload itself."""
    return text


def harmless(marker: str, _: str) -> str:
    """In its place a word."""
    return f"fine {marker}"


def payloads() -> Iterable[tuple[str, str]]:
    """Every payload with its word."""
    return [*((marker, text) for _, marker, text in MARKED), ("m999m", HUGE)]


def packed(each: int = 16) -> list[tuple[str, str]]:
    """The same, several on a page: a browser takes its time for each."""
    return [(MARKED[at][1], " ".join(text for _, _, text in MARKED[at : at + each])) for at in range(0, len(MARKED), each)]


def name_of(marker: str) -> str:
    """The package in which a payload stands."""
    return f"case-{marker}"


def _nodes(marker: str, text: str, word: Word) -> list[dict[str, Any]]:
    """Two builds of a package, the newer one with an external below it."""
    said = word(marker, text)
    outside = make_node(f"outside-{marker}", external={"path": said, "module": [said], "extra_attributes": {}})
    parameters = {"build_system": "generic", "shared": True, "api": said, said: [said, "b"], "cflags": [said], "x": {"toString": said}}
    newer = make_node(name_of(marker), "2.0", [outside], parameters=parameters, package_hash=said)
    newer["annotations"] = {"original_specfile_version": 5, said: said}
    older = make_node(name_of(marker), "1.0", parameters={"build_system": "generic", "note": said})
    return [newer, outside, older]


def _annotations(marker: str, text: str, word: Word) -> tuple[dict[str, str], dict[str, str]]:
    """What images tell of the newer and of the older build: the twin is silent where a payload is of no use to anybody."""
    free = dict.fromkeys(FREE, word(marker, text).replace(",", "."))
    strict = dict.fromkeys(STRICT, text) if word is hostile else {}
    return {**free, f"{_OCI}created": "2026-01-02T03:04:05Z", **{key: strict[key] for key in STRICT[:1] if key in strict}}, strict


def _failure(at: int, marker: str, text: str, word: Word) -> dict[str, Any]:
    said = word(marker, text)
    h = f"{at:032d}".translate(str.maketrans("0123456789", "abcdefghij"))
    return {
        "hash": h, "label": said, "phase": said, "message": said, "errorLines": [said, "", said], "since": "2026-11-01T00:00:00Z",
        "last": "2026-11-02T00:00:00Z", "times": 2, "log": said, "spec": said,
        "origin": {
            "stack": said, "spack_version": said, "packages_version": said, "run": text if word is hostile else "",
            "spack_commit": said, "packages_commit": said, "source": said, "revision": said, "created": said,
        },
    }  # fmt: skip


def hash_of_failure(at: int) -> str:
    """The DAG hash of the failure in which the payload of this number stands."""
    return str(_failure(at, "", "", harmless)["hash"])


def image(word: Word, found: Iterable[tuple[str, str]]) -> SiteImage:
    """An image of payloads: a package of two builds and a failure for each."""
    dags, about = [], dict[str, dict[str, str]]()
    failures, logs = [], {}
    found = list(found)
    for at, (marker, text) in enumerate(found):
        newer, outside, older = _nodes(marker, text, word)
        dags += [[newer, outside], [older]]
        about[newer["hash"]], about[older["hash"]] = _annotations(marker, text, word)
        failures.append(_failure(at, marker, text, word))
        logs[hash_of_failure(at)] = readable(word(marker, text).encode("utf-8", "replace")[-32 * 1024 :])
    made = make_catalog(*dags)
    catalog = replace(made, entries=_read({h: replace(entry, annotations=about[h]) for h, entry in made.entries.items()}))
    return SiteImage(
        name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=catalog,
        failures=_parsed(failures), logs=logs, wanted=(_wanted(list(found), word),),
    )  # fmt: skip


def _wanted(found: list[tuple[str, str]], word: Word) -> Wanted:
    """What a stack wants, as it comes back out of a registry: each payload in every field that pages tell of."""
    specs, roots, refused = [], {}, {}
    for at, (marker, text) in enumerate(found):
        said = word(marker, text)
        missing, user = hash_of_failure(at), hash_of_failure(10_000 + at)
        specs += [
            {"hash": missing, "name": said, "version": said, "target": said},
            {"hash": user, "name": said, "version": said, "target": said, "needs": [missing]},
        ]
        roots[user] = said
        refused[f"{marker} {said}"] = said
    stack = {"meta": {"wanted": "1.0"}, "stack": "all", "runner": "r", "roots": roots, "refused": refused, "specs": specs}
    return parse_wanted(json.loads(json.dumps(stack)))


def _read(entries: dict[str, CatalogEntry]) -> dict[str, CatalogEntry]:
    """The entries as they come back out of a registry."""
    return {h: entry for shard in to_shards(entries.values(), 1).values() for h, entry in from_shard(json.loads(shard)).items()}


def _parsed(failures: list[dict[str, Any]]) -> dict[str, Failure]:
    """The failures as they come back out of a registry."""
    return parse_failures(json.loads(json.dumps({"failures": failures})))


def odd_image() -> SiteImage:
    """What JSON may hold where text is expected: in what nodes say, in annotations, and in failures."""
    dags = []
    for at, value in enumerate(ODD):
        outside = make_node(f"outside-{at}", external={"path": value})
        dags.append(
            [
                make_node(f"odd-{at}", "1.0", [outside], parameters={"a": value, "b": [value], "c": {"d": value}}, package_hash=value),
                outside,
            ]
        )
        dags.append(
            [make_node(f"bare-{at}", arch={"platform": "linux", "platform_os": "x", "target": {"features": value, "toString": value}})]
        )
    made = make_catalog(*dags)
    entries, failures = dict[str, CatalogEntry](), []
    for at, (h, entry) in enumerate(made.entries.items()):
        raw = {"meta": {"version": 2}, "entries": {h: {**entry.json(), "annotations": dict.fromkeys([*FREE, *STRICT], ODD[at % len(ODD)])}}}
        entries |= from_shard(raw)
    for at, value in enumerate(ODD):
        plain = _failure(at, f"m{at}", "", harmless)
        for key in plain:
            failures.append({**plain, key: value})
        failures.append({**plain, "origin": dict.fromkeys(plain["origin"], value)})
    return SiteImage(
        name="v2", mirror_url="oci://ghcr.io/o/r/v2", reference="ghcr.io/o/r/v2", catalog=replace(made, entries=entries),
        failures=parse_failures({"failures": [*failures, *ODD]}),
    )  # fmt: skip


SITE = Site(title="A cache", description="What others wrote.")
