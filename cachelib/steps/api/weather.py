"""How stacks stand: an index with the sums, and a file for each with its requests."""

from __future__ import annotations

from collections.abc import Generator

from cachelib.model.digest import Digest
from cachelib.model.site import Contents, page_path
from cachelib.steps.api.text import FILE_LIMIT, Document, Ref, document, encode, fitting, rows
from cachelib.steps.standing import standing
from cachelib.steps.weather import Forecast, Lack, State, Weather

#: Requests that the file of a stack tells of, and missing specs of it and of each request.
REQUESTS, LACKS, LACKS_EACH = 2_000, 1_000, 5
#: Targets of a stack that are told of.
TARGETS = 50


def weather(contents: Contents) -> Generator[Document, None, Ref]:
    """Every file of the weather; returns their index."""
    known = {package.name for package in contents.packages}
    lines = []
    for image, found in standing(contents.images):
        name = Digest.of("\n".join((image.name, found.stack, found.runner)).encode()).hex[:16]
        fields = {
            **_head(image.name, found),
            "count": len(found.requests),
            "requests": fitting(encode(_request(one, known)) for one in found.requests[:REQUESTS]),
            "missingCount": len(found.lacks),
            "missing": fitting((encode(_lack(one, known)) for one in found.lacks[:LACKS]), FILE_LIMIT // 2),
        }
        made = document(f"weather/{name}.json", "weather-stack", fields)
        yield made
        lines.append(encode({**made.ref.json(), **_head(image.name, found)}))
    made = document("weather.json", "weather", {"count": len(lines), "stacks": rows(lines)})
    yield made
    return made.ref


def _head(image: str, found: Weather) -> dict[str, object]:
    return {
        "image": image,
        "stack": found.stack,
        "runner": found.runner,
        "states": {state.value: found.of(state) for state in State},
        "present": found.present,
        "total": found.total,
        "restricted": found.withheld,
        "external": found.external,
        "size": found.size,
        "seconds": found.seconds,
        "upstream": found.upstream,
        "targets": [{"target": one.target, "present": one.present, "total": one.total} for one in found.targets[:TARGETS]],
    }


def _request(one: Forecast, known: set[str]) -> dict[str, object]:
    spec = one.spec
    return {
        "request": one.request,
        "state": one.state.value,
        "reason": one.reason or None,
        "hash": spec.hash if spec else None,
        "label": spec.label if spec else None,
        "target": spec.target if spec else None,
        "package": page_path(spec.name) if spec and spec.name in known else None,
        "present": one.present,
        "total": one.total,
        "size": one.size,
        "seconds": one.seconds,
        "upstream": one.upstream,
        "missing": [_lack(lack, known) for lack in one.lacks[:LACKS_EACH]],
        "missingCount": len(one.lacks),
    }


def _lack(lack: Lack, known: set[str]) -> dict[str, object]:
    return {"hash": lack.hash, "label": lack.label, "package": page_path(lack.name) if lack.name in known else None, "reason": lack.reason}
