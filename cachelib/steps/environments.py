"""The spack.yaml and the spack.lock of a build, as data: one environment a target, and one that holds what came of them all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cachelib.model.develop import Code
from cachelib.model.errors import BuildError
from cachelib.model.request import with_target
from cachelib.model.stack import Stack


def environment_yaml(
    stack: Stack,
    requests: Sequence[str],
    *,
    target: str,
    beyond: bool = False,
    reuse: Mapping[str, Any] | None = None,
    mirrors: Mapping[str, str],
    given: Mapping[str, Any] | None,
    code: Sequence[Code] = (),
) -> dict[str, Any]:
    """The spack.yaml of a build, as data: the requests, and what makes its binaries useful to others.

    `given` is the person's own environment; what it says is kept, what the cache needs is put over it. What is `beyond` this machine's CPU
    is concretized all the same. With `reuse` (Spack's concretizer:reuse), the stack's built compiler is there, and compiles all. `code` is
    built as its commits.
    """
    # One target for the whole DAG: runners differ in CPU, and each CPU would give other hashes.
    required: list[Any] = [f"target={target}"] if target else []
    packages: dict[str, Any] = {}
    if reuse:
        # Where `c` itself is required, the solver searches for hours.
        required += [{"spec": f"%{language}={stack.build_compiler}", "when": f"%{language}"} for language in ("c", "cxx", "fortran")]
    elif stack.compilers:
        for language in ("c", "cxx", "fortran"):
            packages[language] = {"require": [{"one_of": list(stack.compilers)}]}
    if required:
        packages["all"] = {"require": required}
    if target:
        # What a person requires of a package takes the place of what is required of all: it follows the preference then.
        packages["all"]["target"] = [target]
    packages |= {one.name: {"require": [*required, one.requirement]} for one in code}
    ours: dict[str, Any] = {
        "view": False,
        # Fresh: what is concretized hangs on the pins alone, not on what happens to be in the cache today.
        "concretizer": {"unify": _unify(stack, given or {}), "reuse": dict(reuse) if reuse else False},
        "packages": packages,
        "mirrors": {name: {"url": url, "binary": True, "source": False, "signed": False} for name, url in mirrors.items()},
    }
    if beyond:
        ours["concretizer"]["targets"] = {"host_compatible": False}
    merged = _merge(_merge(_without_reuse(given or {}), ours), stack.config)
    # What lies at a path is no part of a hash of Spack's: it is built as a commit, or not at all.
    merged.pop("develop", None)
    merged["specs"] = [*((given or {}).get("specs") or ()), *requests]
    return {"spack": merged}


def _without_reuse(given: Mapping[str, Any]) -> dict[str, Any]:
    """A person's environment without what it reuses: the sources in such a list would add up with ours."""
    held = given.get("concretizer")
    kept = {key: value for key, value in held.items() if key != "reuse"} if isinstance(held, Mapping) else held
    return {**given, "concretizer": kept} if held is not None else dict(given)


def lock_key(spack_commit: str, stack: Stack, environment: str, detected: bytes, recipes: str) -> str:
    """What a concretization hangs on; the same key means the same result, so it need not be done again."""
    parts = (spack_commit, stack.packages.commit, environment, detected.decode(errors="replace"), recipes)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def merge_locks(locks: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """One spack.lock out of several, each with the target that it is for (nothing where none is pinned), as Spack reads it.

    Specs are known by their hashes, so what several targets have in common is there once. A root tells its target.
    """
    try:
        merged = {key: value for key, value in locks[0][1].items() if key not in ("roots", "concrete_specs")}
        roots = {root["hash"]: {**root, "spec": with_target(str(root["spec"]), target)} for target, data in locks for root in data["roots"]}
        return {
            **merged,
            "roots": list(roots.values()),
            "concrete_specs": {h: s for _, data in locks for h, s in data["concrete_specs"].items()},
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"Spack's spack.lock is not understood: {error!r}") from None


def merged_yaml(environment: Mapping[str, Any], lock: Mapping[str, Any]) -> dict[str, Any]:
    """The spack.yaml that belongs to a merged lock: its roots are the same package more than once, which no `unify` but false allows."""
    section = environment["spack"]
    return {
        "spack": {
            **section,
            "concretizer": {**section["concretizer"], "unify": False, "reuse": False},
            "specs": [root["spec"] for root in lock["roots"]],
        }
    }


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        held = merged.get(key)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            merged[key] = _merge(held, value)
        elif held is not None and (isinstance(value, list) or (key == "require" and value is not None)):
            # Requirements and the like add up, one written as a text too: what a person asked for holds beside what the cache needs.
            merged[key] = [*(held if isinstance(held, list) else [held]), *(value if isinstance(value, list) else [value])]
        else:
            merged[key] = value
    return merged


def _unify(stack: Stack, given: Mapping[str, Any]) -> object:
    concretizer = given.get("concretizer")
    held = concretizer.get("unify") if isinstance(concretizer, Mapping) else None
    return {"true": True, "false": False, "": "when_possible" if held is None else held}.get(stack.unify, stack.unify)
