"""Caches of any size by rule: DAGs as deep and JSON as long as real ones, so that what is measured on them holds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.mirrors import add_entry, make_node

#: Packages that others stand on; every one of them is an entry too, so every closure is whole.
POOL = 200
# A node of Spack's is 1.3 KB of JSON on average, and a real DAG has around 40 of them.
_VARIANTS: dict[str, Any] = {f"variant_{at:02}": bool(at % 3) for at in range(24)} | {
    f"{c}flags": [] for c in ("c", "cxx", "f", "cpp", "ld")
}


def made_dags(count: int, seed: int = 0) -> Iterator[list[dict[str, Any]]]:
    """So many specs, each as the nodes of its DAG, root first; a longer list begins like a shorter one."""
    chance = random.Random(seed)
    pool: list[tuple[dict[str, Any], dict[str, dict[str, Any]]]] = []
    for at in range(count):
        below = [pool[index] for index in sorted(chance.sample(range(len(pool)), min(len(pool), chance.randint(1, 4))))] if pool else []
        node = make_node(
            f"package-{at:05}", f"{at % 7}.{at % 13}.{at % 5}", dependencies=[b[0] for b in below],
            parameters={"build_system": "cmake", "build_type": "Release", **_VARIANTS},
            package_hash=hashlib.sha256(f"{seed}-{at}".encode()).hexdigest(),
        )  # fmt: skip
        closure = {node["hash"]: node}
        for _, nodes in below:
            closure |= nodes
        if len(pool) < POOL:
            pool.append((node, closure))
        yield list(closure.values())


def made_mirror(root: Path, count: int, seed: int = 0, *, start: int = 0) -> list[str]:
    """Write a mirror of so many entries (those from `start` on), each with a tarball of its own; return their names."""
    names = []
    for at, nodes in enumerate(made_dags(count, seed)):
        if at >= start:
            add_entry(root, nodes, {"bin/program": hashlib.sha256(nodes[0]["hash"].encode()).digest() * 64})
            names.append(str(nodes[0]["name"]))
    return names
