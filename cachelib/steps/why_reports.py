"""Reports of why a spec isn't taken from the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from cachelib.steps.differing import Difference
from cachelib.steps.reports import Report, some
from cachelib.steps.why import Answer, advice

#: Differences that are told of a build.
TOLD = 8


def why_report(found: Answer, repository: str) -> Report:
    """Of one spec: that it is there, or the nearest build, what differs and what to do."""
    return Report(lines=tuple(_lines(found, repository)), data=(_data(found, repository),))


def _lines(found: Answer, repository: str) -> Iterator[str]:
    root = found.asked.root
    if found.lacks:
        yield f"why: {root.label} is in {repository}, but {len(found.lacks)} that it needs are not: Spack builds those"
        yield from some([f"  {node.label}" for node in found.lacks])
        return
    if found.present:
        yield f"why: {root.label} is in {repository}: `spack install --use-buildcache only /{root.hash}` takes it, or says why not"
        yield "  if Spack builds it all the same: is the mirror in `spack mirror list`, unsigned, and in `spack buildcache list --allarch`?"
        return
    if not found.near:
        yield f"why: {repository} has no build of {root.name}" + (" that can be read" if found.builds else "")
        return
    nearest = found.near[0]
    other = nearest.spec.root
    yield f"why: {root.label} is not in {repository}; of {found.builds} builds of {root.name} the nearest is {other.label}"
    for one in nearest.differences[:TOLD]:
        yield f"  {told(one)}"
        yield f"      {advice(root.name, one)}"
    if len(nearest.differences) > TOLD:
        yield f"  and {len(nearest.differences) - TOLD} differences more"
    yield f"  that build as it is: spack install --use-buildcache only /{other.hash}"
    for near in found.near[1:]:
        yield f"  further off: {near.spec.root.label} ({', '.join(dict.fromkeys(_what(one) for one in near.differences[:4]))})"


def told(one: Difference, ours: str = "is asked for", theirs: str = "is there") -> str:
    """A difference in words."""
    where = f" of {' > '.join(one.path)}" if one.path else ""
    also = f" (and of {one.also} more in its DAG)" if one.also else ""
    sides = ((one.asked or "none", ours), (one.there or "none", theirs))
    said = ", ".join(f"{value} {words}" if words.startswith("is ") else f"{value} in {words}" for value, words in sides)
    return f"{_what(one)}{where}: {said}{also}"


def _what(one: Difference) -> str:
    word = one.field.name.lower()
    return f"{word} {one.name}" if one.name else word


def _data(found: Answer, repository: str) -> dict[str, Any]:
    return {
        "step": "why",
        "where": repository,
        "label": found.asked.root.label,
        "hash": found.asked.root.hash,
        "present": found.present,
        "builds": found.builds,
        "lacks": [{"hash": node.hash, "label": node.label} for node in found.lacks],
        "near": [
            {
                "hash": near.spec.root.hash,
                "label": near.spec.root.label,
                "differences": [
                    {
                        "field": one.field.name.lower(), "name": one.name, "path": list(one.path), "asked": one.asked, "there": one.there,
                        "also": one.also, "advice": advice(found.asked.root.name, one),
                    }
                    for one in near.differences
                ],
            }
            for near in found.near
        ],
    }  # fmt: skip


def summary(answers: Sequence[Answer], repository: str) -> Report:
    """Of many specs: how many are there, and what keeps most of the others away."""
    missing = [one for one in answers if not one.present]
    first = Counter(_what(one.near[0].differences[0]) for one in missing if one.near)
    causes = ", ".join(f"{cause} ({count})" for cause, count in first.most_common(5))
    never = sum(not one.near for one in missing)
    lacking = sum(bool(one.lacks) for one in answers)
    part = f", {lacking} of them without all that they need" if lacking else ""
    unknown = f"; {never} of packages that it has no build of" if never else ""
    line = f"why: {len(answers) - len(missing)} of {len(answers)} specs are in {repository}{part}" + (
        f"; what is decisive: {causes}" if causes else ""
    )
    return Report(lines=(line + unknown,))
