"""Random packages out of the thousands that real Spack has recipes of."""

from __future__ import annotations

from cachelib import pipeline
from cachelib.pipeline.installing import prepare_spack
from cachelib.steps.picking import pick


def test_real_recipes(workspace: pipeline.Workspace) -> None:
    name, stack = workspace.stack("")
    spack, _ = prepare_spack(workspace, stack, name, "")
    names = spack.names()
    assert len(names) > 8000
    assert {"zlib", "hdf5", "sundial"} <= set(names)
    assert "mpi" not in names
    reasons = spack.unfit(["zlib", "sundial", "cuda", "intel-oneapi-mkl", "nag", "orca", "matlab", "nosuchpackage"])
    assert (reasons["zlib"], reasons["sundial"]) == ("", "")
    assert "by hand" in reasons["orca"]
    assert "licence" in reasons["nag"] or "by hand" in reasons["nag"]
    assert reasons["matlab"]
    assert "can't be read" in reasons["nosuchpackage"]
    found = [pick(names, 3, "2026-11-23", cached=set(), failing={}, unfit=spack.unfit) for _ in range(2)]
    assert found[0] == found[1]
    assert len(found[0].names) == 3
