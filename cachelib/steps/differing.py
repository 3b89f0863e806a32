"""What makes one concrete spec another than a build: the fields that differ, the most decisive first, each told once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from cachelib.model.spec import ConcreteSpec, Edge, Node
from cachelib.steps.targets import family

#: Virtuals whose provider is a compiler, and packages that come along with one.
_LANGUAGES = frozenset({"c", "cxx", "fortran"})
_LIBCS, _RUNTIMES = ("glibc", "musl"), ("gcc-runtime", "intel-oneapi-runtime", "compiler-wrapper")
#: Fields of a node that are told of in another way, or say nothing of what it is.
_KNOWN = frozenset({
    "name", "version", "arch", "namespace", "parameters", "compiler", "dependencies", "external", "package_hash", "hash", "full_hash",
    "annotations", "patches", "concrete", "build_hash",
})  # fmt: skip
_FLAGS = ("cflags", "cppflags", "cxxflags", "fflags", "ldflags", "ldlibs")


class Field(IntEnum):
    """What can differ, in the order of what is decisive: no other choice of a version lets a binary of another platform run."""

    PLATFORM = 1
    TARGET = 2
    OS = 3
    LIBC = 4
    COMPILER = 5
    VERSION = 6
    VARIANT = 7
    FLAGS = 8
    EXTERNAL = 9
    NAMESPACE = 10
    DEPENDENCY = 11
    RECIPE = 12
    OTHER = 13


#: How far a difference takes a build away from what is asked for, and how far one of a dependency does.
_WEIGHTS = {
    Field.PLATFORM: 5000, Field.TARGET: 300, Field.OS: 400, Field.LIBC: 100, Field.COMPILER: 120, Field.VERSION: 80, Field.VARIANT: 20,
    Field.FLAGS: 20, Field.EXTERNAL: 40, Field.NAMESPACE: 40, Field.DEPENDENCY: 20, Field.RECIPE: 3, Field.OTHER: 3,
}  # fmt: skip
_BELOW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field that differs: what was asked for, and what is there; empty where one side has no such thing.

    `path` are the packages from the root's dependency to the one that it was found in, empty at the root itself. `name` is that of the
    variant, flag or dependency. `also` counts the other specs of the DAG that differ in the same way.
    """

    field: Field
    asked: str
    there: str
    name: str = ""
    path: tuple[str, ...] = ()
    also: int = 0

    @property
    def weight(self) -> int:
        """How far it takes a build away from what is asked for."""
        if self.field is Field.TARGET and not self.path and family(self.asked) != family(self.there):
            return _WEIGHTS[Field.PLATFORM]  # a binary for other machines altogether
        return _WEIGHTS[self.field] if not self.path else min(_BELOW, _WEIGHTS[self.field])

    @property
    def order(self) -> tuple[Any, ...]:
        """What is decisive comes first: fields of the root, what holds for the whole DAG among them, then those of dependencies."""
        below = self.field if not self.path else Field.DEPENDENCY
        # A recipe that changed is told after all else, wherever it did.
        last = self.field in (Field.RECIPE, Field.OTHER)
        return (last, below, len(self.path), self.field, self.path, self.name)


def differences(asked: ConcreteSpec, there: ConcreteSpec) -> tuple[Difference, ...]:
    """Everything in which a spec differs from a build; nothing where they are the same."""
    if asked.root.hash == there.root.hash:
        return ()
    found = _without_followers(list(_walk(asked, there)))
    found = found or [Difference(field=Field.OTHER, name="hash", asked=asked.root.hash, there=there.root.hash)]
    merged: dict[tuple[Any, ...], Difference] = {}
    for one in found:
        # The target of a whole DAG is one difference, and so is its os, its libc, its compiler: who mends one mends all.
        whole = one.field in (Field.PLATFORM, Field.TARGET, Field.OS, Field.LIBC, Field.COMPILER)
        key: tuple[Any, ...] = (one.field,) if whole else (one.field, one.name, one.asked, one.there, one.path[-1:])
        known = merged.get(key)
        if known is None:
            merged[key] = one
        else:
            shorter = min(known, one, key=lambda each: (len(each.path), each.path))
            merged[key] = replace(shorter, also=known.also + 1)
    return tuple(sorted(merged.values(), key=lambda one: one.order))


def distance(found: Iterable[Difference]) -> int:
    """How far a build is from what is asked for."""
    return sum(one.weight for one in found)


def _without_followers(found: list[Difference]) -> list[Difference]:
    """Without what only follows from another difference: with another compiler come other runtimes of it."""
    fields = {one.field for one in found}
    if Field.COMPILER in fields:
        found = [one for one in found if one.field is Field.COMPILER or not set(_RUNTIMES) & set(one.path)]
        found = [one for one in found if not (one.field is Field.DEPENDENCY and one.name in _RUNTIMES)]
    if Field.OS in fields:
        found = [one for one in found if one.field is not Field.LIBC]
    return found


def _walk(asked: ConcreteSpec, there: ConcreteSpec) -> Iterator[Difference]:
    """Both DAGs from the root on, pair by pair of dependencies of one name; what is the same is not gone into."""
    seen = {(asked.root.hash, there.root.hash)}
    waiting: list[tuple[Node, Node, tuple[str, ...]]] = [(asked.root, there.root, ())]
    while waiting:
        ours, theirs, path = waiting.pop(0)
        yield from (replace(one, path=path) for one in _fields(ours, theirs))
        yield from (replace(one, path=path) for one in _compilers(asked, ours, there, theirs))
        mine, other = ({edge.name: edge for edge in node.dependencies} for node in (ours, theirs))
        compilers = {edge.name for edge in (*ours.dependencies, *theirs.dependencies) if _LANGUAGES & set(edge.virtuals)}
        for name in sorted(mine.keys() | other.keys()):
            if name in compilers and not _same_label(asked, mine.get(name), there, other.get(name)):
                continue  # that is told as another compiler
            if name not in mine or name not in other:
                if name in (*_LIBCS, *_RUNTIMES) and ("compiler" in ours.raw) is not ("compiler" in theirs.raw):
                    continue  # spec format 4 tells of the compiler and of nothing that comes with it
                yield from _one_sided(asked, mine, there, other, name, path)
            elif mine[name].hash != other[name].hash:
                pair = asked.nodes[mine[name].hash], there.nodes[other[name].hash]
                if name in _LIBCS and _label(pair[0]) != _label(pair[1]):
                    yield Difference(field=Field.LIBC, asked=_label(pair[0]), there=_label(pair[1]), path=path)
                elif (key := (pair[0].hash, pair[1].hash)) not in seen:
                    seen.add(key)
                    waiting.append((*pair, (*path, name)))


def _one_sided(
    asked: ConcreteSpec, mine: Mapping[str, Edge], there: ConcreteSpec, other: Mapping[str, Edge], name: str, path: tuple[str, ...]
) -> Iterator[Difference]:
    """A dependency that one side has: where another package provides the same, the two are one difference."""
    if name in _LIBCS:
        yield Difference(
            field=Field.LIBC, path=path, asked=_label(asked.nodes[mine[name].hash]) if name in mine else "",
            there=_label(there.nodes[other[name].hash]) if name in other else "",
        )  # fmt: skip
        return
    virtuals = set((mine.get(name) or other[name]).virtuals)
    if name in mine:
        rival = next((edge.name for edge in other.values() if edge.name not in mine and virtuals & set(edge.virtuals)), "")
        yield Difference(field=Field.DEPENDENCY, name=sorted(virtuals)[0] if rival else name, asked=name, there=rival, path=path)
    elif not any(edge.name not in other and virtuals & set(edge.virtuals) for edge in mine.values()):
        yield Difference(field=Field.DEPENDENCY, name=name, asked="", there=name, path=path)


def _fields(ours: Node, theirs: Node) -> Iterator[Difference]:
    for field, mine, other in (
        (Field.PLATFORM, ours.platform, theirs.platform), (Field.TARGET, ours.target, theirs.target), (Field.OS, ours.os, theirs.os),
        (Field.VERSION, ours.version, theirs.version), (Field.NAMESPACE, ours.namespace, theirs.namespace),
    ):  # fmt: skip
        if mine != other:
            yield Difference(field=field, asked=mine, there=other)
    mine_raw, other_raw = ours.raw, theirs.raw
    if ours.external != theirs.external or (ours.external and _outside(mine_raw) != _outside(other_raw)):
        yield Difference(field=Field.EXTERNAL, asked=_outside(mine_raw), there=_outside(other_raw))
    parameters = mine_raw.get("parameters") or {}, other_raw.get("parameters") or {}
    for name in sorted(parameters[0].keys() | parameters[1].keys()):
        values = parameters[0].get(name), parameters[1].get(name)
        if values[0] == values[1] or (not values[0] and not values[1] and name in _FLAGS):
            continue
        if name == "patches":
            continue
        field = Field.FLAGS if name in _FLAGS else Field.VARIANT
        yield Difference(field=field, name=name, asked=_typed(name, values[0]), there=_typed(name, values[1]))
    # Patches are the recipe's: they come and go with it.
    mine_recipe, other_recipe = _recipe(mine_raw, parameters[0]), _recipe(other_raw, parameters[1])
    if mine_recipe != other_recipe:
        yield Difference(field=Field.RECIPE, asked=mine_recipe, there=other_recipe)
    rest = (mine_raw.keys() | other_raw.keys()) - _KNOWN
    yield from (
        Difference(field=Field.OTHER, name=name, asked=_short(mine_raw.get(name)), there=_short(other_raw.get(name)))
        for name in sorted(rest) if mine_raw.get(name) != other_raw.get(name)
    )  # fmt: skip


def _compilers(asked: ConcreteSpec, ours: Node, there: ConcreteSpec, theirs: Node) -> Iterator[Difference]:
    mine, other = _built_with(asked, ours), _built_with(there, theirs)
    if mine != other:
        yield Difference(field=Field.COMPILER, asked=" ".join(mine), there=" ".join(other))


def _built_with(spec: ConcreteSpec, node: Node) -> list[str]:
    if compiler := node.raw.get("compiler"):  # spec format 4
        return [f"{compiler['name']}@{compiler['version']}"]
    return sorted({_label(spec.nodes[edge.hash]) for edge in node.dependencies if _LANGUAGES & set(edge.virtuals)})


def _same_label(asked: ConcreteSpec, mine: Edge | None, there: ConcreteSpec, other: Edge | None) -> bool:
    return mine is not None and other is not None and _label(asked.nodes[mine.hash]) == _label(there.nodes[other.hash])


def _label(node: Node) -> str:
    return f"{node.name}@{node.version}"


def _outside(raw: Mapping[str, Any]) -> str:
    external = raw.get("external")
    if external is None:
        return ""
    return _short(external.get("path") or external.get("module")) if isinstance(external, dict) else _short(external)


def _typed(name: str, value: object) -> str:
    """A variant as it is typed; nothing where there is none."""
    match value:
        case None:
            return ""
        case bool():
            return f"{'+' if value else '~'}{name}"
        case list() if name in _FLAGS:
            return f"{name}={' '.join(map(str, value))}" if value else ""
        case list():
            return f"{name}={','.join(map(str, value)) or 'none'}"
        case _:
            return f"{name}={_short(value)}"


def _recipe(raw: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    given = parameters.get("patches")
    patches = [_short(patch)[:7] for patch in given] if isinstance(given, list) else []
    return " with patches ".join(filter(None, (_short(raw.get("package_hash"))[:7], ", ".join(patches))))


def _short(value: object) -> str:
    return str(value)[:200] if value is not None else ""
