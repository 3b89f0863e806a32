"""Which targets a machine builds, which requests for which, and one lock out of several."""

from __future__ import annotations

from typing import Any

import pytest

from cachelib.model.errors import BuildError
from cachelib.model.outcome import Elsewhere
from cachelib.model.request import named_target, with_target
from cachelib.steps.building import parse_lock
from cachelib.steps.environments import merge_locks, merged_yaml
from cachelib.steps.targets import Batch, Division, beyond, divide, is_beyond, targets_here
from tests.support.mirrors import make_node

ARCH = {"platform": "linux", "platform_os": "debian12"}
ALL = ("x86_64_v3", "x86_64_v4", "aarch64")


@pytest.mark.parametrize(
    ("text", "named", "made"),
    [
        ("hdf5", "", "hdf5 target=zen4"),
        ("hdf5 +mpi ^openmpi@5 target=x86_64", "", "hdf5 +mpi target=zen4 ^openmpi@5 target=x86_64"),
        ("hdf5%gcc@13", "", "hdf5 target=zen4 %gcc@13"),
        ("hdf5 target=x86_64_v3", "x86_64_v3", "hdf5 target=x86_64_v3"),
        ("hdf5 target==x86_64_v3 ^zlib", "x86_64_v3", "hdf5 target==x86_64_v3 ^zlib"),
        ("hdf5 arch=linux-debian12-icelake", "icelake", "hdf5 arch=linux-debian12-icelake"),
        ("hdf5 target='x86_64_v3:'", "x86_64_v3:", "hdf5 target='x86_64_v3:'"),
        ("hdf5 cflags='-O2 %x target=no'", "", "hdf5 cflags='-O2 %x target=no' target=zen4"),
    ],
)
def test_a_request_names_a_target_or_is_given_one(text: str, named: str, made: str) -> None:
    """What stands behind a dependency is of that, so a target stands before it."""
    assert (named_target(text), with_target(text, "zen4"), with_target(text, "")) == (named, made, text)


def test_the_targets_of_a_machine() -> None:
    assert targets_here(ALL, "x86_64") == ("x86_64_v3", "x86_64_v4")
    assert targets_here(ALL, "arm64") == ("aarch64",)
    assert targets_here((), "x86_64") == ()


def test_one_target_is_as_it_was() -> None:
    """The requests keep their words, and so the concretization its key."""
    assert divide(ALL, ["a", "b ^c"], machine="aarch64", cpu="neoverse_v1") == Division(
        batches=(Batch(target="aarch64", requests=("a", "b ^c")),)
    )
    assert divide((), ["a target=zen2"], machine="x86_64", cpu="zen2") == Division(batches=(Batch(target="", requests=("a target=zen2",)),))


def test_every_target_of_the_family_is_built() -> None:
    found = divide(ALL, ["a", "b %gcc"], machine="x86_64", cpu="zen4")
    assert found == Division(
        batches=(
            Batch(target="x86_64_v3", requests=("a target=x86_64_v3", "b target=x86_64_v3 %gcc")),
            Batch(target="x86_64_v4", requests=("a target=x86_64_v4", "b target=x86_64_v4 %gcc")),
        )
    )


def test_what_the_cpu_cant_run_is_left_to_others_and_planned_all_the_same() -> None:
    reason = "it is for x86_64_v4, which this machine's CPU can't run (zen3)"
    left = (Elsewhere(what="target x86_64_v4", reason=reason),)
    assert divide(ALL, ["a"], machine="x86_64", cpu="zen3") == Division(
        batches=(Batch(target="x86_64_v3", requests=("a",)),), elsewhere=left
    )
    planned = divide(ALL, ["a"], machine="x86_64", cpu="zen3", every=True)
    assert planned.elsewhere == left
    assert [(batch.target, batch.beyond) for batch in planned.batches] == [("x86_64_v3", False), ("x86_64_v4", True)]
    assert divide(("x86_64_v4",), ["a"], machine="x86_64", cpu="zen3").batches == ()
    # Where nobody knows the CPU, Spack finds out.
    assert divide(ALL, ["a"], machine="x86_64", cpu="").elsewhere == ()
    assert (is_beyond(beyond("zen3", "x86_64_v4")), is_beyond("a dependency failed")) == (True, False)


def test_a_request_that_names_its_target_is_built_once() -> None:
    found = divide(ALL, ["a", "b target=x86_64", "c target=aarch64", "d target=x86_64_v4"], machine="x86_64", cpu="zen4")
    assert [(batch.target, batch.requests) for batch in found.batches] == [
        ("x86_64_v3", ("a target=x86_64_v3",)),
        ("x86_64_v4", ("a target=x86_64_v4", "d target=x86_64_v4")),
        ("x86_64", ("b target=x86_64",)),
    ]
    assert found.elsewhere == (Elsewhere(what="c target=aarch64", reason="it is for machines of aarch64"),)
    nobody = divide(("x86_64_v3",), ["c target=aarch64"], machine="x86_64", cpu="zen4").elsewhere
    assert "for which the stack has no target" in nobody[0].reason
    # A range is no target: Spack has it out with the first one.
    assert divide(ALL, ["e target=x86_64_v3:"], machine="x86_64", cpu="zen4").batches[0].requests == ("e target=x86_64_v3:",)


def lock(*names: str, target: str) -> dict[str, Any]:
    nodes = [make_node(name, arch=ARCH | {"target": target}) for name in names] + [make_node("shared")]
    return {
        "_meta": {"lockfile-version": 6}, "roots": [{"hash": node["hash"], "spec": node["name"]} for node in nodes[:-1]],
        "concrete_specs": {node["hash"]: node for node in nodes},
    }  # fmt: skip


def test_one_lock_out_of_several() -> None:
    first, second = lock("app", target="x86_64_v3"), lock("app", "lib", target="x86_64_v4")
    merged = merge_locks([("x86_64_v3", first), ("x86_64_v4", second)])
    found = parse_lock(merged)
    assert sorted(found.roots.values()) == ["app target=x86_64_v3", "app target=x86_64_v4", "lib target=x86_64_v4"]
    assert found.nodes.keys() == first["concrete_specs"].keys() | second["concrete_specs"].keys()
    assert len(found.nodes) == 4, "what both need is there once"
    assert all(found.nodes[h].target == request.partition("=")[2] for h, request in found.roots.items())
    environment = {"spack": {"concretizer": {"unify": True, "reuse": False}, "specs": [], "view": False}}
    assert merged_yaml(environment, merged)["spack"] == {
        "concretizer": {"unify": False, "reuse": False}, "view": False,
        "specs": ["app target=x86_64_v3", "app target=x86_64_v4", "lib target=x86_64_v4"],
    }  # fmt: skip
    with pytest.raises(BuildError, match="not understood"):
        merge_locks([("", {"roots": 1})])
