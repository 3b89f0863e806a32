"""A recipe of one's own with its code beside it: built as commits, which stock Spack finds by their names."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.config import Settings
from cachelib.model.develop import Develop
from cachelib.model.errors import BuildError
from tests.contract.test_developing import commit, git
from tests.e2e.conftest import Client
from tests.e2e.test_stock_spack import program

RECIPE = '''\
from spack_repo.builtin.build_systems.generic import Package

from spack.package import *


class MySolver(Package):
    """A solver whose code lies beside its recipe."""

    homepage = "https://example.org/solver"
    git = "https://example.org/owner/solver.git"

    version("main", branch="main")

    depends_on("c", type="build")

    def install(self, spec, prefix):
        mkdirp(prefix.bin)
        Executable(spack_cc)("-o", join_path(prefix.bin, "my-solver"), "src/main.c")
'''
CODE = '#include <stdio.h>\nint main(void) {{ puts("{}"); return 0; }}\n'


def built(lines: tuple[str, ...]) -> str:
    """The short hash of the solver that was built."""
    (found,) = (match[1] for line in lines if (match := re.search(r"  built +my-solver@main/(\w{7}) ", line)))
    return found


@pytest.mark.parametrize("client_root", ["v1.1.0"], indirect=True)
def test_code_beside_a_recipe(workspace: pipeline.Workspace, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "solver"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    first = commit(folder, {
        "src/main.c": CODE.format("first"), "recipes/spack_repo/mine/repo.yaml": "repo:\n  namespace: mine\n  api: v2.2\n",
        "recipes/spack_repo/mine/packages/my_solver/package.py": RECIPE,
    })  # fmt: skip
    stack = dataclasses.replace(
        workspace.settings.stacks["examples"], specs=("my-solver",), repos=("recipes/spack_repo/mine",),
        develop={"my-solver": Develop(spec="my-solver@main", path="src")},
    )  # fmt: skip
    ws = dataclasses.replace(workspace, folder=folder, var=tmp_path / "var", settings=Settings(stacks={"mine": stack}))
    (folder / "README").write_text("changed")

    one = pipeline.build(ws)
    assert one.exit_code == 0, one.lines
    mirror = ws.mirror("v1.1").root
    client = dataclasses.replace(
        client, mirrors={"cache": mirror.as_uri()}, repos={"mine": str(folder / "recipes/spack_repo/mine")}
    )  # fmt: skip
    client.run("install", "--use-buildcache", "only", "--no-check-signature", f"/{built(one.lines)}")
    assert subprocess.check_output([program(client, "my-solver")], text=True) == "first\n"
    # Whoever names the commit gets the very build: what one asks for says what one gets.
    (spec,) = client.run("find", "--format", "{version} {variants.commit} {arch.target}", "my-solver").splitlines()[-1:]
    assert spec == f"main commit={first} x86_64_v3"

    (folder / "src/main.c").write_text(CODE.format("changed, and in no commit"))
    with pytest.raises(BuildError, match=r"src/main\.c"):
        pipeline.build(ws)
    second = commit(folder, {"src/main.c": CODE.format("second")})
    two = pipeline.build(ws)
    assert built(two.lines) != built(one.lines)
    assert second != first
    client.wipe()
    client.run("install", "--use-buildcache", "only", "--no-check-signature", "my-solver@main", f"commit={second}")
    assert subprocess.check_output([program(client, "my-solver")], text=True) == "second\n"
    # The first one is still what it was.
    client.wipe()
    client.run("install", "--use-buildcache", "only", "--no-check-signature", f"/{built(one.lines)}")
    assert subprocess.check_output([program(client, "my-solver")], text=True) == "first\n"
