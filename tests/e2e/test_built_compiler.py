"""A compiler that Spack builds first, and everything with it: planned, built, published, and installed by a stock Spack that lacks it.

Building GCC takes an hour. The recipe here is a compiler to Spack, with all that this means for order and hashes; it has the system's compile,
and its version is one that no machine has.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import archspec.cpu
import pytest

from cachelib import pipeline
from cachelib.model.errors import BuildError
from cachelib.steps.building import parse_lock
from tests.e2e.conftest import CLIENTS, SHARED, Client
from tests.support.certificates import Certificates
from tests.support.docker_registry import Server

RECIPE = '''
import os

from spack_repo.builtin.build_systems.compiler import CompilerPackage
from spack_repo.builtin.build_systems.generic import Package
from spack_repo.builtin.packages.gcc.package import Gcc as Builtin

from spack.package import *


class Gcc(Package, CompilerPackage):
    """A compiler that is built in no time: it has the system's compile."""

    has_code = False
    version("99.1.0")

    variant("languages", default="c,c++", values=("ada", "brig", "c", "c++", "d", "fortran", "go", "java", "jit", "lto", "objc", "obj-c++"), multi=True, description="Languages")
    provides("c", "cxx", when="languages=c,c++")
    depends_on("c", type="build")
    depends_on("cxx", type="build")

    compiler_languages = ["c", "cxx"]
    c_names, cxx_names = Builtin.c_names, Builtin.cxx_names
    compiler_version_regex, compiler_version_argument = Builtin.compiler_version_regex, Builtin.compiler_version_argument
    compiler_wrapper_link_paths = {"c": "gcc/gcc", "cxx": "gcc/g++"}
    determine_variants = classmethod(Builtin.determine_variants.__func__)
    determine_version = classmethod(Builtin.determine_version.__func__)
    filter_detected_exes = classmethod(Builtin.filter_detected_exes.__func__)
    runtime_constraints = classmethod(Builtin.runtime_constraints.__func__)

    def _cc_path(self):
        return os.path.join(self.prefix.bin, "gcc")

    def _cxx_path(self):
        return os.path.join(self.prefix.bin, "g++")

    def install(self, spec, prefix):
        mkdirp(prefix.bin)
        symlink(spec["c"].package.cc, self._cc_path())
        symlink(spec["cxx"].package.cxx, self._cxx_path())
'''


def tool(folder: Path, version: str = "99.1.0") -> Path:
    """The package repository with the compiler."""
    repo = folder / "spack_repo/tool"
    (repo / "packages/gcc").mkdir(parents=True)
    (repo / "repo.yaml").write_text("repo:\n  namespace: tool\n  api: v2.0\n", encoding="utf-8")
    (repo / "packages/gcc/package.py").write_text(RECIPE.replace("99.1.0", version), encoding="utf-8")
    return repo


def test_a_compiler_is_built_first_and_then_builds_the_rest(
    workspace: pipeline.Workspace, registry: Server, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    repo = tool(tmp_path)
    stack = workspace.settings.stacks["examples"]
    stack = replace(
        stack, repos=(*stack.repos, str(repo)), build_compiler="gcc@99.1.0", specs=("sundial",), targets=(str(archspec.cpu.host().family),)
    )
    ws = replace(workspace, var=tmp_path / "var", settings=replace(workspace.settings, stacks={"examples": stack}))
    base = f"{registry.url}/compiled/cache"

    report = pipeline.plan(ws, to=base, out=str(tmp_path / "plan"), workers=1)
    assert report.exit_code == 0, report.text
    (planned,) = json.loads((tmp_path / "plan/plan.json").read_text(encoding="utf-8"))["stacks"]
    data = (tmp_path / f"plan/{planned['stack']}-{planned['id']}/spack.lock").read_text(encoding="utf-8")
    lock = parse_lock(json.loads(data))
    compiler = next(h for h, node in lock.nodes.items() if node.name == "gcc" and not node.external)
    app = next(h for h, request in lock.roots.items() if request.startswith("sundial"))
    order = [h for slots in planned["schedule"]["workers"][:1] for slot in slots for h in slot["builds"]]
    assert order.index(compiler) < order.index(app)
    assert compiler in lock.roots, "it is published for its own sake too"
    assert compiler in {edge.hash for edge in lock.nodes[app].dependencies}

    built = pipeline.build(ws)
    assert built.exit_code == 0, built.text
    assert "built    gcc@99.1.0" in built.text
    assert pipeline.push(ws, base).exit_code == 0
    assert pipeline.index(ws, base).exit_code == 0
    assert "nothing to build" in pipeline.plan(ws, to=base, out=str(tmp_path / "again")).text

    commit, _, packages = CLIENTS["v1.1.0"]
    user = Client(
        root=SHARED / "spack" / commit[:12], packages=SHARED / "packages" / packages[:12], home=tmp_path / "user",
        certificates=certificates, cache=SHARED / "cache" / f"{commit[:12]}-{packages[:12]}" / "misc", mirrors={"cache": f"{base}/v1.1"},
    )  # fmt: skip
    (tmp_path / "scope").mkdir()
    (tmp_path / "scope/repos.yaml").write_text(f"repos:\n  tool: {repo}\n", encoding="utf-8")
    recipes = ("-C", str(tmp_path / "scope"))
    user.run(*recipes, "install", "--use-buildcache", "only", "--no-check-signature", f"/{app}")
    assert user.run(*recipes, "find", "--format", "{hash}", "sundial").split()[-1] == app
    assert "gcc@99.1.0" not in user.run(*recipes, "find", "--format", "{name}@{version}").split(), "what only building took is not fetched"


def test_a_compiler_of_the_machine_is_not_taken_for_one_that_is_built(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    """Spack takes what is there, and says nothing."""
    version = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    stack = replace(workspace.settings.stacks["examples"], build_compiler=f"gcc@{version}", specs=("sundial",))
    ws = replace(workspace, var=tmp_path / "var", settings=replace(workspace.settings, stacks={"examples": stack}))
    with pytest.raises(BuildError, match="this machine has that already") as caught:
        pipeline.build(ws, dry_run=True)
    assert f"compilers: [gcc@{version}]" in caught.value.hint


def test_a_compiler_older_than_what_builds_it_is_told_at_once(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    """Spack would search for hours for a way to compile with it."""
    repo = tool(tmp_path, "4.9.0")
    stack = workspace.settings.stacks["examples"]
    stack = replace(stack, repos=(*stack.repos, str(repo)), build_compiler="gcc@4.9.0", specs=("sundial",))
    ws = replace(workspace, var=tmp_path / "var", settings=replace(workspace.settings, stacks={"examples": stack}))
    with pytest.raises(BuildError, match=r"gcc@4\.9\.0 would be built with gcc@\S+, which is newer"):
        pipeline.build(ws, dry_run=True)
