"""Failures as people act on them: annotations and a table on the page of a run, and a link that opens an issue upstream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from cachelib.model.failure import Failure
from cachelib.model.outcome import BuildOutcome, Skipped
from cachelib.model.spec import Node
from cachelib.model.text import markdown, printable

#: Where recipes are mended.
UPSTREAM = "https://github.com/spack/spack-packages/issues/new"
#: GitHub answers 414 to addresses that are much longer (characters, as they stand in the address).
LONGEST_URL = 6000
#: GitHub shows so many annotations of a step.
ANNOTATIONS = 10
_TAIL = 30


def most_telling(failing: Sequence[Failure], outcomes: Mapping[str, BuildOutcome]) -> list[tuple[str, str]]:
    """Titles and texts of the most telling failures: those that cost the most other specs come first."""
    costs = Counter(outcome.because_of for outcome in outcomes.values() if isinstance(outcome, Skipped))
    ordered = sorted(failing, key=lambda failure: (-costs[failure.label], failure.label))
    shown = ordered if len(ordered) <= ANNOTATIONS else ordered[: ANNOTATIONS - 1]
    told = []
    for failure in shown:
        kept = f" {costs[failure.label]} specs that need it were not tried." if costs[failure.label] else ""
        text = "\n".join([f"{failure.message}{kept}", *failure.error_lines[:_TAIL]])
        told.append((f"{failure.label} failed in phase {failure.phase}", text))
    if len(ordered) > len(shown):
        told.append((f"{len(ordered) - len(shown)} more failed", "The summary of this run names them all."))
    return told


def summary(failing: Sequence[Failure], outcomes: Mapping[str, BuildOutcome], nodes: Mapping[str, Node]) -> str:
    """What failed and what that cost, as Markdown; nothing where all went well."""
    skipped = {h: outcome for h, outcome in outcomes.items() if isinstance(outcome, Skipped)}
    if not failing and not skipped:
        return ""
    lines = ["## What was not built", ""]
    if failing:
        lines += ["| spec | phase | since | times | what it said | |", "| --- | --- | --- | --: | --- | --- |"]
        for failure in failing:
            first = next((line for line in failure.error_lines if line.strip()), failure.message)
            lines.append(
                f"| {markdown(failure.label)} | {markdown(failure.phase)} | {failure.since[:10]} | {failure.times} | "
                f"{markdown(first[:300])} | [report it to Spack]({issue_url(failure)}) |"
            )
        lines += ["", "The whole logs are kept in the registry: `inv log /HASH` prints one, and `inv reproduce /HASH` tells how to do the"]
        lines += ["same build on your own machine.", ""]
    if skipped:
        lines += ["| not tried | why |", "| --- | --- |"]
        because = ((h, f"{o.reason}{f': {o.because_of}' if o.because_of else ''}") for h, o in skipped.items())
        lines += [f"| {markdown(nodes[h].label)} | {markdown(why)} |" for h, why in because]
        lines.append("")
    return "\n".join(lines) + "\n"


def issue_url(failure: Failure) -> str:
    """The address that opens a filled-in issue at Spack's packages; nothing is sent until a person does."""
    name, _, rest = failure.label.partition("@")
    origin = failure.origin
    head = [
        "### Steps to reproduce", "", f"`spack install {failure.label.partition('/')[0]}`, built for a build cache.", "",
        f"- Spack: {origin.spack_version} ({origin.spack_commit})", f"- packages: {origin.packages_version} ({origin.packages_commit})",
        f"- DAG hash: {failure.hash}", f"- phase: {failure.phase}", f"- run: {origin.run or 'on a machine of its own'}", "",
        "### Error message", "", "~~~~~",
    ]  # fmt: skip
    tail = ["~~~~~", "", f"First seen {failure.since}, {failure.times} times in a row."]
    told = [printable(line).replace("~~~~~", "~~~") for line in (failure.message, *failure.error_lines)]
    title = quote(f"Installation issue: {name} {rest.partition('/')[0]}", safe="")
    while True:
        url = f"{UPSTREAM}?title={title}&labels=build-error&body={quote(chr(10).join([*head, *told, *tail]), safe='')}"
        if len(url) <= LONGEST_URL or not told:
            return url
        told = told[:-1]


def lines(failing: Iterable[Failure]) -> list[str]:
    """The same in a terminal."""
    return [f"  failing  {failure.label}: {failure.told()}" for failure in failing]
