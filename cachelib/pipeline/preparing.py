"""A build that can begin: Spack and its recipes installed, the compilers chosen, the requests concretized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cachelib.model.errors import BuildError
from cachelib.model.oci import Location
from cachelib.model.outcome import Elsewhere, Rejected
from cachelib.model.stack import Stack
from cachelib.pipeline.concretize import Concretizer
from cachelib.pipeline.developing import code_of
from cachelib.pipeline.installing import prepare_spack
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import building
from cachelib.steps.targets import targets_here
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.spack import Spack


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A build that can begin: a configured Spack and a concretized environment (no lock where every request was refused)."""

    name: str
    stack: Stack
    spack: Spack
    mirror: DiskMirror
    location: Location
    env: Path
    lock: building.Lock | None
    rejected: tuple[Rejected, ...]
    elsewhere: tuple[Elsewhere, ...] = ()

    def installed(self) -> frozenset[str]:
        """What is in the install tree already."""
        return frozenset(h for h, facts in self.spack.describe(self.env).items() if facts["installed"])

    def mirrored(self) -> frozenset[str]:
        """What is in the mirror already."""
        return frozenset(entry.hash for entry in self.mirror.entries(lambda _: None))


def prepare(ws: Workspace, specs: Sequence[str], stack_name: str, spack_root: str, *, every: bool = False) -> Ready:
    """Install what is missing, and concretize; raise CacheError where no build could begin.

    With `every`, that is done for targets too that this machine's CPU can't run.
    """
    name, stack = ws.stack(stack_name)
    if stack.targets and not targets_here(stack.targets, ws.machine):
        raise BuildError(
            f"stack {name} has no target for {ws.machine}",
            hint=f"add one to its `targets`: {', '.join(stack.targets)} suit other machines",
        )
    if stack.container and stack.container != ws.container:
        ws.progress.say(f"stack {name} is built in {stack.container} on GitHub; here it is for the system of this machine")
    spack, _ = prepare_spack(ws, stack, name, spack_root)
    _check_build_compiler(spack, stack, name)
    chosen = replace(stack, compilers=_compilers(spack, stack, name))
    mirror, location = ws.mirror(stack.image_name), ws.location("").child(stack.image_name)
    concretizer = Concretizer(ws=ws, spack=spack, name=name, stack=chosen, mirror=mirror, location=location, code=code_of(ws, stack))
    made = concretizer.concretize(tuple(specs) or stack.specs, asked=bool(specs), every=every)
    return Ready(
        name=name, stack=stack, spack=spack, mirror=mirror, location=location, env=made.env, lock=made.lock, rejected=made.rejected,
        elsewhere=made.elsewhere,
    )  # fmt: skip


def _check_build_compiler(spack: Spack, stack: Stack, name: str) -> None:
    """Raise BuildError where the machine has the compiler that Spack is to build: it would be taken as it is, and none be built."""
    there = spack.compilers([stack.build_compiler])[0] if stack.build_compiler else ()
    if there:
        raise BuildError(
            f"stack {name} has Spack build {stack.build_compiler}, and this machine has that already: Spack would take the machine's",
            hint=f"name another version in `build_compiler`, or have `compilers: [{stack.build_compiler}]` compile in its place",
        )


def _compilers(spack: Spack, stack: Stack, name: str) -> tuple[str, ...]:
    """Those of the stack's compilers that are here: Spack would search for hours for a way to build another one with itself.

    Raises BuildError where none is.
    """
    if not stack.compilers or stack.environment or "packages" in stack.config:
        return stack.compilers  # what a person configures may bring compilers along
    found, there = spack.compilers(stack.compilers)
    if not found:
        spack.find_compilers()  # one may have been installed since Spack looked
        found, there = spack.compilers(stack.compilers)
    if not found:
        raise BuildError(
            f"stack {name} takes {' or '.join(stack.compilers)}, and Spack finds {', '.join(there) or 'no compiler'} on this machine",
            hint="install one (on Debian and Ubuntu `apt install gcc-13 g++-13 gfortran-13`), or name one that is here in `compilers`; "
            "`system_packages` of the stack has GitHub's runners install it",
        )
    return found
