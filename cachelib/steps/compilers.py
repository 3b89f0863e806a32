"""Whether a compiler that Spack is to build first can compile the rest: looked at before Spack searches for a way, for hours."""

from __future__ import annotations

from cachelib.model.errors import BuildError
from cachelib.model.version import in_range
from cachelib.steps.building import Lock


def check_built(lock: Lock) -> None:
    """Raise BuildError where a compiler that was concretized alone is the machine's, or is built by a newer one of its name.

    What GCC compiles takes no gcc-runtime newer than itself (its recipe, runtime_constraints), and a newer GCC would put that into it.
    """
    for root in (lock.nodes[h] for h in lock.roots):
        told = f"{root.name}@{root.version}"
        if root.external:
            raise BuildError(
                f"{told}, which Spack is to build, is an external of the stack's configuration: Spack takes it as it is",
                hint="name another version in `build_compiler`, or leave out the external",
            )
        for node in (lock.nodes[edge.hash] for edge in root.dependencies if edge.name == root.name):
            if not in_range(node.version, f":{root.version}"):
                raise BuildError(
                    f"{told} would be built with {node.name}@{node.version}, which is newer, and Spack finds no way to compile with that",
                    hint=f"build a newer one than {node.version}, or name an older one of the machine's in `compilers`",
                )
