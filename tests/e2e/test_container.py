"""A container out of the layers of real builds, unpacked and entered as a container runtime would."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cachelib import pipeline
from tests.conftest import need
from tests.support.bases import base_of_this_machine


def test_a_container_of_the_examples_runs(
    workspace: pipeline.Workspace, published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: object
) -> None:
    """Of what is published in a registry, put into a directory: two programs of it run, and its labels tell of them."""
    umoci, skopeo = need("umoci"), need("skopeo")
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))  # type: ignore[attr-defined]
    report = pipeline.container(
        workspace, specs=["sundial", "moonphase +emoji"], base=base_of_this_machine(tmp_path, "sh"), tags=["tools"],
        to=published.removesuffix("/v1.1"), put_to=f"oci-layout:{tmp_path}/out",
    )  # fmt: skip
    assert report.exit_code == 0, report.text
    told = json.loads(subprocess.run([skopeo, "inspect", f"oci:{tmp_path}/out:tools"], check=True, capture_output=True, text=True).stdout)
    assert told["Labels"]["org.spack.packages"] == "sundial@1.2.0,moonphase@2.0"
    assert told["Labels"]["org.opencontainers.image.licenses"]
    bundle = tmp_path / "bundle"
    subprocess.run([umoci, "unpack", "--image", f"{tmp_path}/out:tools", str(bundle)], check=True, capture_output=True)
    process = json.loads((bundle / "config.json").read_text())["process"]
    env = dict(item.split("=", 1) for item in process["env"])
    enter = [need("chroot"), str(bundle / "rootfs"), *process["args"], "-c"]
    said = subprocess.run([*enter, "sundial --version"], env=env, capture_output=True, text=True, check=True).stdout
    assert said == "sundial 1.2.0, libsundial 1.2.0\n"
    # A login shell sets PATH anew, and reads what is in /etc/profile.d then.
    login = ". /etc/profile.d/spack-environment.sh && moonphase --version && echo $SUNDIAL_ROOT"
    said = subprocess.run([*enter, login], env={"PATH": "/bin"}, capture_output=True, text=True, check=True).stdout
    assert "/sundial-1.2.0-" in said
