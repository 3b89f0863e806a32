"""What fails: an index with the last ones, and shards by DAG hash that tell all of it but the log, which lies in the registry."""

from __future__ import annotations

from collections.abc import Generator

from cachelib.model.failure import Failure
from cachelib.model.site import Contents, page_path
from cachelib.model.text import printable
from cachelib.steps.api.specs import by_prefix
from cachelib.steps.api.text import Document, Ref, document, encode, rows, table
from cachelib.steps.collecting import commit, web, word

#: So many of the last failures stand in the index; of each, so many error lines of so many characters.
LAST, LINES, LINE = 100, 40, 400
MESSAGE = 2_000


def failures(contents: Contents) -> Generator[Document, None, Ref]:
    """Every file of failures; returns their index."""
    found: dict[str, dict[str, Failure]] = {}
    references = {image.name: image.reference for image in contents.images}
    for image in contents.images:
        for h, failure in image.failures.items():
            found.setdefault(h, {})[image.name] = failure
    known = {package.name for package in contents.packages}
    shards: dict[str, Ref] = {}
    for prefix, hashes in by_prefix(found):
        lines = (
            (h, encode([_failure(failure, image, references[image], known) for image, failure in sorted(found[h].items())])) for h in hashes
        )
        made = document(f"failures/{prefix}.json", "failure-shard", {"failures": table(lines)})
        yield made
        shards[prefix] = made.ref
    every = [(image, failure) for h in sorted(found) for image, failure in sorted(found[h].items())]
    last = sorted(every, key=lambda pair: pair[1].last, reverse=True)[:LAST]
    fields = {
        "count": len(every),
        "last": rows(encode(_line(failure, image)) for image, failure in last),
        "shards": table((prefix, encode(ref.digest)) for prefix, ref in shards.items()),
    }
    made = document("failures.json", "failures", fields)
    yield made
    return made.ref


def _line(failure: Failure, image: str) -> dict[str, object]:
    return {
        "hash": failure.hash,
        "image": image,
        "label": printable(failure.label[:LINE]),
        "phase": word(failure.phase),
        "since": failure.since,
        "last": failure.last,
        "times": failure.times,
    }


def _failure(failure: Failure, image: str, reference: str, known: set[str]) -> dict[str, object]:
    origin, name = failure.origin, failure.label.partition("@")[0]
    return {
        **_line(failure, image),
        "package": page_path(name) if name in known else None,
        "message": printable(failure.message[:MESSAGE]),
        "errorLines": [printable(line[:LINE]) for line in failure.error_lines[:LINES]],
        "nextTry": failure.next_try().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "run": web(origin.run) or None,
        "stack": word(origin.stack) or None,
        "spack": {"version": word(origin.spack_version) or None, "commit": commit(origin.spack_commit) or None},
        "packages": {"version": word(origin.packages_version) or None, "commit": commit(origin.packages_commit) or None},
        "log": _blob(reference, failure.log),
        "spec": _blob(reference, failure.spec),
    }


def _blob(reference: str, digest: str) -> str | None:
    return f"{reference}@{printable(digest[:LINE])}" if digest else None
