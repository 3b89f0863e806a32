"""What a build did, told from Spack's output (as it was printed by Spack 1.1.0) and from what is installed."""

from __future__ import annotations

from typing import Any

import pytest

from cachelib.model.develop import Code
from cachelib.model.errors import BuildError
from cachelib.model.outcome import Built, Failed, Phase, Reused, Skipped
from cachelib.model.record import EnvChange, Origin, Record, apply_environment, parse_record
from cachelib.model.stack import PackagesPin, SpackPin, Stack
from cachelib.steps import building
from cachelib.steps.building import LONG, NO_TIME, InstallWatch, Lock, classify, parse_lock, rejection, to_mirror
from cachelib.steps.compilers import check_built
from cachelib.steps.developing import check_known
from cachelib.steps.environments import environment_yaml
from tests.support.mirrors import make_node

LIB, TOOL = make_node("lib"), make_node("tool")
APP = make_node("app", dependencies=[LIB])
TOP = make_node("top", dependencies=[APP, TOOL])
NODES = {node["name"]: node for node in (LIB, TOOL, APP, TOP)}


def lock() -> Lock:
    return parse_lock({
        "roots": [{"hash": TOP["hash"], "spec": "top"}],
        "concrete_specs": {node["hash"]: {key: value for key, value in node.items() if key != "hash"} for node in NODES.values()},
    })  # fmt: skip


def facts(installed: set[str], cached: set[str] = frozenset()) -> dict[str, dict[str, Any]]:  # type: ignore[assignment]
    return {
        node["hash"]: {
            "installed": name in installed,
            "times": {"total": 2.5, "cache": name in cached, "phases": [{"name": "install", "path": "install", "seconds": 2.0}]},
            "package": {"redistributable": name != "tool"},
            "errors": ["7: error: no"] if name == "app" else [],
            "log": "/stage/app/log" if name == "app" else "",
            "phase": "build" if name == "app" else "",
        }
        for name, node in NODES.items()
    }


def watched(*lines: str) -> InstallWatch:
    watch = InstallWatch()
    for line in lines:
        watch.line(line)
    return watch


def begin(name: str) -> str:
    return f"==> Installing {name}-1.0-{NODES[name]['hash']} [1/4]"


def outcomes(watch: InstallWatch, installed: set[str], cached: set[str] = frozenset(), before: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    found = classify(lock(), facts(installed, cached), watch, frozenset(NODES[name]["hash"] for name in before), frozenset({TOOL["hash"]}))
    return {name: found[node["hash"]] for name, node in NODES.items()}


def test_dependencies_come_first() -> None:
    names = [node.name for node in lock().buildable()]
    assert names.index("lib") < names.index("app") < names.index("top")
    assert names.index("tool") < names.index("top")


def test_all_kinds_of_outcomes() -> None:
    watch = watched(
        begin("app"),
        f"==> Error: app-1.0-{APP['hash']}: ProcessError: Command exited with status 1:",
        f"==> Error: app-1.0-{APP['hash']}: Package was not installed",
    )
    assert outcomes(watch, {"lib", "tool"}, cached={"tool"}, before={"lib"}) == {
        "lib": Reused(source="install tree"),
        "tool": Reused(source="mirror"),
        "app": Failed(
            phase="build", message="ProcessError: Command exited with status 1", error_lines=("7: error: no",), log="/stage/app/log"
        ),
        "top": Skipped(reason="a dependency failed", because_of=f"app@1.0/{APP['hash'][:7]}"),
    }


def test_built_with_its_phases() -> None:
    found = outcomes(watched(begin("lib")), {"lib", "tool", "app", "top"})
    assert found["lib"] == Built(seconds=2.5, phases=(Phase(name="install", seconds=2.0),))


def test_a_chain_of_skips_names_its_first_cause() -> None:
    watch = watched(begin("lib"), f"==> Error: lib-1.0-{LIB['hash']}: FetchError: All fetchers failed")
    found = outcomes(watch, {"tool"})
    assert found["lib"] == Failed(phase="fetch", message="FetchError: All fetchers failed")
    assert found["app"] == found["top"] == Skipped(reason="a dependency failed", because_of=f"lib@1.0/{LIB['hash'][:7]}")


def test_a_killed_install_is_no_failure_of_what_it_did_not_reach() -> None:
    found = outcomes(watched("==> Error: Keyboard interrupt"), {"lib"})
    assert found["app"] == Skipped(reason="Keyboard interrupt")


def test_what_was_cut_off_has_failed_only_if_it_took_long() -> None:
    """What was at it for an hour would be so in the next run; what had just begun did nothing wrong."""
    watch = InstallWatch()
    watch.line(begin("lib"), 100.0)
    watch.line(begin("app"), 100.0 + LONG - 60)
    watch.stopped = 100.0 + LONG
    found = outcomes(watch, {"tool"})
    assert found["lib"] == Failed(phase="time", message="it was not done after 60 minutes, when the time of its job was over")
    assert found["app"] == Skipped(reason=NO_TIME)
    watch.began[APP["hash"]] = 100.0
    assert outcomes(watch, {"lib", "tool"})["app"] == Failed(
        phase="time", message="it was not done after 60 minutes, when the time of its job was over", error_lines=("7: error: no",),
        log="/stage/app/log",
    )  # fmt: skip
    # What Spack had said of a failure before stays so.
    watch.line(f"==> Error: app-1.0-{APP['hash']}: no")
    assert outcomes(watch, {"lib", "tool"})["app"].phase == "build"


def test_what_a_person_hears() -> None:
    watch = InstallWatch()
    said = [
        watch.line(line)
        for line in (begin("lib"), "noise", "[+] /usr (external gcc-12.2.0-" + "a" * 32 + ")", f"[+] /s/[padded]/x/lib-1.0-{LIB['hash']}")
    ]
    assert said == [f"building lib-1.0-{LIB['hash'][:7]}", None, None, f"installed lib-1.0-{LIB['hash'][:7]}"]
    failure = f"==> Error: lib-1.0-{LIB['hash']}: no"
    assert (watch.line(failure), watch.line(failure)) == (f"FAILED lib-1.0-{LIB['hash'][:7]}", None)


def test_the_mirror_gets_what_is_installed_free_and_new() -> None:
    every = {"lib", "tool", "app", "top"}
    assert to_mirror(lock(), facts(every), [LIB["hash"]], {APP["hash"]}, {TOOL["hash"]}) == [TOP["hash"]]
    assert to_mirror(lock(), facts(set()), [], frozenset()) == []


def stack(**changes: Any) -> Stack:
    pin = "a" * 40
    return Stack(spack=SpackPin(version="v1.1.0", commit=pin), packages=PackagesPin(version="v2025.11.0", commit=pin), **changes)


def test_the_environment_of_a_build() -> None:
    made = environment_yaml(
        stack(targets=("x86_64_v3", "aarch64"), compilers=("gcc@12",), config={"packages": {"all": {"variants": "~docs"}}}),
        ["hdf5 +mpi"], target="aarch64", mirrors={"cache": "file:///m"}, given=None,
    )["spack"]  # fmt: skip
    assert made["specs"] == ["hdf5 +mpi"]
    # The preference is for packages with requirements of their own, for which those of all don't hold.
    assert made["packages"]["all"] == {"require": ["target=aarch64"], "target": ["aarch64"], "variants": "~docs"}
    assert made["packages"]["c"] == {"require": [{"one_of": ["gcc@12"]}]}
    assert made["mirrors"]["cache"] == {"url": "file:///m", "binary": True, "source": False, "signed": False}
    assert made["concretizer"] == {"unify": "when_possible", "reuse": False}


def test_a_compiler_that_was_built_compiles_all() -> None:
    """It takes the place of those of the machine, which compiled only itself."""
    asked = stack(compilers=("gcc@12",), build_compiler="gcc@14.2.0")
    first = environment_yaml(asked, ["gcc@14.2.0"], target="x86_64_v3", mirrors={}, given=None)["spack"]
    assert first["packages"]["c"] == {"require": [{"one_of": ["gcc@12"]}]}
    reuse = {"from": [{"type": "environment", "path": "/e", "include": ["gcc"]}]}
    made = environment_yaml(asked, ["zlib"], target="x86_64_v3", reuse=reuse, mirrors={}, given=None)["spack"]
    assert made["concretizer"]["reuse"] == reuse
    languages = ({"spec": f"%{one}=gcc@14.2.0", "when": f"%{one}"} for one in ("c", "cxx", "fortran"))
    assert made["packages"] == {"all": {"require": ["target=x86_64_v3", *languages], "target": ["x86_64_v3"]}}


def test_a_compiler_that_could_compile_nothing_is_refused() -> None:
    def compilers(version: str, by: str, **more: Any) -> Lock:
        machines = make_node("gcc", by, external={"path": "/usr"})
        edge = {"name": "gcc", "hash": machines["hash"], "parameters": {"deptypes": ["build"], "virtuals": ["c"]}}
        made = make_node("gcc", version, dependencies=[edge], **more)
        data = {"concrete_specs": {one["hash"]: one for one in (machines, made)}, "roots": [{"hash": made["hash"], "spec": "gcc"}]}
        return parse_lock(data)

    check_built(compilers("14.2.0", by="12.2.0"))
    check_built(compilers("14.2.0", by="14.2.0"))
    with pytest.raises(BuildError, match=r"gcc@11\.5\.0 would be built with gcc@12\.2\.0, which is newer"):
        check_built(compilers("11.5.0", by="12.2.0"))
    with pytest.raises(BuildError, match="is an external"):
        check_built(compilers("14.2.0", by="12.2.0", external={"path": "/opt"}))


def test_what_an_environment_reuses_is_not_beside_the_built_compiler() -> None:
    reuse = {"from": [{"type": "environment", "path": "/e", "include": ["gcc"]}]}
    given = {"concretizer": {"unify": True, "reuse": {"roots": True, "from": [{"type": "local"}, {"type": "buildcache"}]}}}
    made = environment_yaml(stack(build_compiler="gcc@14.2.0"), ["zlib"], target="", reuse=reuse, mirrors={}, given=given)["spack"]
    assert made["concretizer"] == {"unify": True, "reuse": reuse}


@pytest.mark.parametrize("written", ["+gpu", ["+gpu"]])
def test_what_a_stack_requires_takes_nothing_away(written: object) -> None:
    """Spack takes a text for a list of one."""
    config = {"packages": {"all": {"require": written}, "solver": {"require": written}}}
    code = [Code(name="solver", version="main", commit="a" * 40)]
    made = environment_yaml(stack(config=config), ["solver"], target="x86_64_v3", mirrors={}, given=None, code=code)["spack"]
    assert made["packages"]["all"]["require"] == ["target=x86_64_v3", "+gpu"]
    assert made["packages"]["solver"]["require"] == ["target=x86_64_v3", f"@main commit={'a' * 40}", "+gpu"]


def test_a_given_environment_is_kept() -> None:
    given = {"specs": ["zlib"], "view": True, "packages": {"mpi": {"require": "openmpi"}}, "mirrors": {"mine": "https://m"}}
    made = environment_yaml(stack(unify="true"), ["bzip2"], target="", mirrors={"cache": "file:///m"}, given=given)["spack"]
    assert made["specs"] == ["zlib", "bzip2"]
    assert made["packages"] == {"mpi": {"require": "openmpi"}}
    assert set(made["mirrors"]) == {"mine", "cache"}
    assert (made["view"], made["concretizer"]["unify"]) == (False, True)


def test_code_is_required_by_its_commit() -> None:
    given = {"specs": [], "develop": {"solver": {"spec": "solver@main"}}, "packages": {"solver": {"require": "+gpu"}}}
    code = [Code(name="solver", version="main", commit="a" * 40)]
    made = environment_yaml(stack(), ["solver"], target="x86_64_v3", mirrors={}, given=given, code=code)["spack"]
    # Those of all don't hold for a package with requirements of its own.
    assert made["packages"]["solver"] == {"require": ["+gpu", "target=x86_64_v3", f"@main commit={'a' * 40}"]}
    assert "develop" not in made, "Spack would build what lies at the path, whatever that is"


def test_what_is_built_from_a_path_is_refused() -> None:
    raw = {**APP, "parameters": {"dev_path": "/home/me/app"}}
    data = {
        "concrete_specs": {one["hash"]: one for one in (raw, LIB)},
        "roots": [{"hash": APP["hash"], "spec": "app dev_path=/home/me/app"}],
    }
    with pytest.raises(BuildError, match="built from /home/me/app") as caught:
        check_known(parse_lock(data))
    assert "develop:" in caught.value.hint
    check_known(lock())


@pytest.mark.parametrize("data", [{}, {"concrete_specs": 1}, {"concrete_specs": {"x": {}}}])
def test_no_lock(data: dict[str, Any]) -> None:
    with pytest.raises(BuildError):
        parse_lock(data)


def test_rejections_carry_spacks_words_and_a_hint() -> None:
    found = rejection("zlibb", "Package 'zlibb' not found.\n\nYou may need to run 'spack clean -m'.")
    assert found.reason == "Package 'zlibb' not found.\nYou may need to run 'spack clean -m'."
    assert "spack list" in found.hint


def test_records_survive_a_round_trip() -> None:
    for outcome in (
        Built(seconds=1.0, phases=(Phase(name="a", seconds=1.0),)),
        Reused(source="x"),
        Failed(phase="b", message="m", error_lines=("1: e",)),
        Skipped(reason="r"),
    ):
        node = lock().nodes[LIB["hash"]]
        change = EnvChange(op="set", name="A", value="b")
        record = building.make_record(node, outcome, {"package": {"license": "MIT", "maintainers": ["a"]}}, Origin(stack="s"))
        record = Record(**{**{f: getattr(record, f) for f in record.__slots__}, "environment": (change,)})
        assert parse_record(record.json()) == record


def test_the_environment_changes_as_spack_does_it() -> None:
    env = {"PATH": "/bin", "FLAGS": "-a -b"}
    changes = (
        EnvChange(op="prepend_path", name="PATH", value="/opt/x/bin/."), EnvChange(op="append_path", name="PATH", value="/last/"),
        EnvChange(op="set", name="ROOT", value="/opt/x"), EnvChange(op="unset", name="GONE"), EnvChange(op="prepend_path", name="NEW", value="/n"),
        EnvChange(op="append_flags", name="FLAGS", value="-c", separator=" "), EnvChange(op="remove_flags", name="FLAGS", value="-a", separator=" "),
    )  # fmt: skip
    apply_environment(changes, env)
    assert env == {"PATH": "/opt/x/bin:/bin:/last", "ROOT": "/opt/x", "NEW": "/n", "FLAGS": "-b -c"}
