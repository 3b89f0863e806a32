"""DAG hashes recomputed without Spack are Spack's, for every real spec that is not an external: formats 4 and 5."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from cachelib import pipeline
from cachelib.model.errors import InstallError
from cachelib.model.spec import dag_hash, parse_node
from cachelib.pipeline.concretize import Concretizer
from cachelib.pipeline.installing import prepare_spack
from cachelib.steps.verifying import hash_fits
from cachelib.tools import git
from cachelib.tools.mirror import DiskMirror
from tests.e2e.conftest import PROJECT, SHARED, no_spack
from tests.support import real_stack

#: The last Spack of spec format 4, with its packages in its own tree.
OLD = ("v0.23.1", "b7f0c71d9083f0b93886296bd03f421367ceb335")


def check(lock: Path, spec_format: int) -> int:
    """Recompute all hashes of a lock file; return how many there are."""
    data = json.loads(lock.read_text(encoding="utf-8"))
    assert data["_meta"]["specfile-version"] == spec_format
    nodes = {h: {**node, "hash": h} for h, node in data["concrete_specs"].items()}
    real = {h: node for h, node in nodes.items() if "external" not in node}
    assert {h: dag_hash(node) for h, node in real.items()} == {h: h for h in real}
    assert all(hash_fits(parse_node(node), spec_format) for node in nodes.values())
    # And a node that is not what its hash says is seen.
    assert not any(hash_fits(parse_node({**node, "version": "0.0.0"}), spec_format) for node in real.values())
    return len(real)


def test_the_hashes_of_format_5(tmp_path: Path) -> None:
    pins = yaml.safe_load((PROJECT / "cache.yaml").read_text(encoding="utf-8"))["stacks"]["examples"]
    stack = {"spack": pins["spack"], "packages": pins["packages"], "targets": pins["targets"]} | real_stack.settings()
    (tmp_path / "cache.yaml").write_text(yaml.safe_dump({"registry": "oci-layout:r", "stacks": {"real": stack}}), encoding="utf-8")
    ws = pipeline.open_workspace(str(tmp_path / "cache.yaml"), shared=str(SHARED))
    try:
        name, settings = ws.stack("")
        spack, _ = prepare_spack(ws, settings, name, "")
    except InstallError as error:
        no_spack(error)
    places = {"mirror": DiskMirror(tmp_path / "m"), "location": ws.location("")}
    concretizer = Concretizer(ws=ws, spack=spack, name=name, stack=settings, **places)  # type: ignore[arg-type]
    made = concretizer.concretize(settings.specs, asked=False, every=False)
    assert made.rejected == ()
    assert check(made.env / "spack.lock", 5) >= 100


def test_the_hashes_of_format_4(tmp_path: Path) -> None:
    version, commit = OLD
    root = SHARED / "spack" / commit[:12]
    try:
        git.checkout("https://github.com/spack/spack.git", version, commit, root, dict(os.environ))
    except InstallError as error:
        no_spack(error)
    settings = real_stack.settings()
    spec = {
        "specs": settings["specs"], "view": False, "concretizer": {"unify": True, "reuse": False},
        "packages": {"all": {"require": ["target=x86_64_v3" if os.uname().machine == "x86_64" else "target=aarch64"]}}
        | {name: {"buildable": False} for name in real_stack.LEFT_OUT if name != "gcc"},
    }  # fmt: skip
    (tmp_path / "env").mkdir()
    (tmp_path / "env/spack.yaml").write_text(yaml.safe_dump({"spack": spec}), encoding="utf-8")
    config = tmp_path / "config"
    config.mkdir()
    misc = SHARED / "cache" / f"{commit[:12]}" / "misc"
    (config / "config.yaml").write_text(yaml.safe_dump({"config": {"misc_cache": str(misc)}}), encoding="utf-8")
    (config / "bootstrap.yaml").write_text("bootstrap: {enable: false}\n", encoding="utf-8")
    env = {key: value for key, value in os.environ.items() if not key.startswith("SPACK_")}
    env |= {
        "SPACK_USER_CONFIG_PATH": str(config), "SPACK_SYSTEM_CONFIG_PATH": str(config / "none"), "HOME": str(tmp_path),
        "SPACK_USER_CACHE_PATH": str(tmp_path / "cache"), "SPACK_PYTHON": sys.executable,
    }  # fmt: skip

    def spack(*arguments: str) -> None:
        done = subprocess.run([str(root / "bin/spack"), *arguments], env=env, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    spack("compiler", "find", "--scope", "user")
    spack("external", "find", "--scope", "user", "--not-buildable", *settings["externals"])  # type: ignore[misc]
    spack("-e", str(tmp_path / "env"), "concretize", "--force")
    assert check(tmp_path / "env/spack.lock", 4) >= 100
