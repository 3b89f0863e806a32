"""Why Spack would not take a spec from the cache: the builds that are nearest to it, what differs, and what to type instead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from cachelib.model.catalog import Catalog
from cachelib.model.errors import CacheError
from cachelib.model.spec import ConcreteSpec, Node
from cachelib.steps.differing import Difference, Field, differences, distance
from cachelib.steps.targets import can_run, family

_PLAIN = re.compile(r"[+~]?[\w@%:,./=+-]*", re.ASCII)
#: Builds that are looked at closely, and that are told of besides the nearest.
CLOSE, BESIDES = 40, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A build of the cache, and everything in which a spec differs from it."""

    spec: ConcreteSpec
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What there is to say of a spec: it is there (`present`), or the nearest builds of its package, of which there are `builds`.

    Of one that is there, `lacks` are what it needs at run time and is not: that is what Spack has to build.
    """

    asked: ConcreteSpec
    present: bool
    lacks: tuple[Node, ...] = ()
    builds: int = 0
    near: tuple[Near, ...] = ()


def answer(asked: ConcreteSpec, catalog: Catalog) -> Answer:
    """Hold a spec against a catalog. A build that can't be read is passed over."""
    root = asked.root
    if root.hash in catalog.entries:
        lacks = tuple(node for node in _needed(asked) if node.hash not in catalog.entries)
        return Answer(asked=asked, present=True, lacks=lacks)
    named = catalog.named(root.name)
    found = []
    for spec in _read(catalog, _closest(asked, catalog, named)):
        told = differences(asked, spec)
        found.append((distance(told), Near(spec=spec, differences=told)))
    # Of builds for several processors the one that this one runs is nearer.
    found.sort(
        key=lambda pair: (
            pair[0], not can_run(root.target, pair[1].spec.root.target), len(pair[1].differences), pair[1].spec.root.hash
        )
    )  # fmt: skip
    return Answer(asked=asked, present=False, builds=len(named), near=tuple(near for _, near in found[: 1 + BESIDES]))


def _needed(asked: ConcreteSpec) -> Iterable[Node]:
    try:
        return asked.runtime_closure()
    except CacheError:
        return ()  # it needs itself: Spack makes no such spec, and will say so


def _read(catalog: Catalog, hashes: Iterable[str]) -> Iterable[ConcreteSpec]:
    for h in hashes:
        try:
            yield catalog.spec(h)
        except CacheError:
            continue


def _closest(asked: ConcreteSpec, catalog: Catalog, named: list[str]) -> list[str]:
    """Of many builds those whose own fields are nearest: to compare whole DAGs takes time."""
    if len(named) <= CLOSE:
        return named

    ours = asked.root
    wanted = (ours.platform, ours.os, ours.target, ours.version)

    def apart(spec: ConcreteSpec) -> int:
        theirs = spec.root
        fields = zip(wanted, (theirs.platform, theirs.os, theirs.target, theirs.version), strict=True)
        mine, other = ours.parameters, theirs.parameters
        return 10 * sum(a != b for a, b in fields) + sum(bool(mine.get(key) != other.get(key)) for key in mine.keys() | other.keys())

    order = sorted(_read(catalog, named), key=lambda spec: (apart(spec), spec.root.hash))
    return [spec.root.hash for spec in order[:CLOSE]]


def _word(text: str) -> str:
    """A variant or flags as a shell takes them: the names and values of a cache are whatever its owner wrote."""
    return text if _PLAIN.fullmatch(text) else shlex.quote(text)


def advice(name: str, one: Difference) -> str:
    """What to type, or to know, so that a difference goes away."""
    what = one.path[-1] if one.path else name
    install = f"spack install {name}" + (f" ^{what}" if one.path else "")
    match one.field:
        case Field.PLATFORM:
            return f"binaries for {one.there} don't run on {one.asked}"
        case Field.TARGET if family(one.asked) != family(one.there):
            return "that build is for machines of another kind"
        case Field.TARGET:
            where = "" if can_run(one.asked, one.there) else ", where the processor is as new (`spack arch -t` says)"
            whole = "" if one.path else f"   (for all it needs, too: `packages:all:require: target={one.there}`)"
            return f"{install} target={one.there}{whole}{where}"
        case Field.OS | Field.LIBC:
            return "Spack takes builds of another system only where your libc is as new, and then by reuse: spack install --reuse " + name
        case Field.COMPILER:
            return f"{install} %{one.there.split()[0]}" if one.there else "that build took no compiler"
        case Field.VERSION:
            return f"{install}@{one.there}"
        case Field.VARIANT | Field.FLAGS if one.there:
            return f"{install}{'' if one.path and one.there[0] in '+~' else ' '}{_word(one.there)}"
        case Field.FLAGS:
            return f"that build took no {one.name}: leave them out, and look into `packages.yaml` for some"
        case Field.VARIANT:
            return f"the recipe there has no {one.name}: its recipes are others than yours"
        case Field.EXTERNAL if one.asked and one.there:
            return f"that build took the {what} in {one.there}: an external below `packages:{what}` says which yours is"
        case Field.EXTERNAL if one.there:
            return f"make {what} an external of yours"
        case Field.EXTERNAL:
            return f"let Spack build {what}: no external of it below `packages:{what}`"
        case Field.NAMESPACE:
            return f"it comes from another package repository: {one.there}.{what}"
        case Field.DEPENDENCY if one.asked and one.there:
            return f"spack install {name} ^{one.there}"
        case Field.DEPENDENCY:
            verb = "does without" if one.asked else "takes besides"
            return f"that build {verb} {one.asked or one.there}: a variant or a version decides on it"
        case Field.RECIPE:
            return "your recipes are of another commit than the cache's: its pages say of which"
        case _:
            return "not to be chosen on a command line"
