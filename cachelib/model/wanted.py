"""What a stack wants: its requests, and all that they need, as they were concretized last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cachelib.model.errors import FormatError
from cachelib.model.licenses import BY_RECIPE
from cachelib.model.spec import check_hash
from cachelib.model.text import printable

#: The minor version counts additions; readers ignore keys they don't know.
WANTED_VERSION = "1.1"
#: Characters of a name, a request or a reason at most, and specs of a stack.
WORD, REASON, SPECS = 300, 1_000, 200_000
#: Bytes of its JSON at most.
WANTED_LIMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSpec:
    """A spec that a stack wants. `needs` are its dependencies at run time, `takes` those that only building it takes (DAG hashes).

    What is `external` is the machine's own; what is `restricted` may not be given away, for the reason that is told.
    """

    hash: str
    name: str
    version: str
    target: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    external: bool = False
    restricted: str = ""

    @property
    def label(self) -> str:
        """`name@version/hash7`, as Spack prints it in short."""
        return f"{self.name}@{self.version}/{self.hash[:7]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a stack wants on a kind of runner: its requests by the DAG hash of what they became, and every spec that those need.

    `refused` are requests that Spack can't concretize, each with its reason.
    """

    stack: str
    runner: str
    specs: Mapping[str, WantedSpec]
    roots: Mapping[str, str]
    refused: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        return {
            "meta": {"wanted": WANTED_VERSION},
            "stack": self.stack,
            "runner": self.runner,
            "roots": dict(sorted(self.roots.items())),
            "refused": dict(sorted(self.refused.items())),
            "specs": [_spec_json(self.specs[h]) for h in sorted(self.specs)],
        }


def parse_wanted(data: Mapping[str, Any]) -> Wanted:
    """Read the JSON of what a stack wants; raise FormatError where it is none, or names what it doesn't hold."""
    try:
        if len(data["specs"]) > SPECS:
            raise FormatError(f"a stack wants {len(data['specs'])} specs, {SPECS} at most are expected")
        specs = {spec.hash: spec for spec in map(_spec, data["specs"])}
        roots = {str(h): _text(request) for h, request in data["roots"].items()}
        refused = {_text(request): _text(reason, REASON) for request, reason in data["refused"].items()}
        found = Wanted(stack=_text(data["stack"]), runner=_text(data["runner"]), specs=specs, roots=roots, refused=refused)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"what a stack wants is malformed: {error!r}"[:REASON]) from None
    named = set(roots).union(*(spec.needs + spec.takes for spec in specs.values()))
    if missing := sorted(named - specs.keys()):
        raise FormatError(f"what stack {found.stack} wants names {missing[0]!r}"[:REASON] + ", which it doesn't hold")
    return found


def _spec_json(spec: WantedSpec) -> dict[str, Any]:
    flags = {name: value for name, value in (("external", spec.external), ("restricted", spec.restricted)) if value}
    lists = {name: list(value) for name, value in (("needs", spec.needs), ("takes", spec.takes)) if value}
    return {"hash": spec.hash, "name": spec.name, "version": spec.version, "target": spec.target, **flags, **lists}


def _spec(data: Mapping[str, Any]) -> WantedSpec:
    return WantedSpec(
        hash=check_hash(data["hash"], "what a stack wants"), name=_text(data["name"]), version=_text(data["version"]),
        target=_text(data["target"]), needs=tuple(map(str, data.get("needs", ()))), takes=tuple(map(str, data.get("takes", ()))),
        external=data.get("external") is True, restricted=_why(data.get("restricted")),
    )  # fmt: skip


def _why(value: object) -> str:
    """A reason. Version 1.0 told only that there is one."""
    return BY_RECIPE if value is True else _text(value, REASON) if isinstance(value, str) else ""


def _text(value: object, limit: int = WORD) -> str:
    return printable(str(value)[:limit])
