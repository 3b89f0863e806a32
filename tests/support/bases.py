"""Images that packages are put on: one that is a stand-in, and one whose programs run."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
from pathlib import Path

from cachelib.model.digest import Digest
from cachelib.model.oci import CONFIG, LAYER_GZIP, MANIFEST, ImageManifest, LayoutLocation
from cachelib.steps import artifacts
from cachelib.tools.layout import LayoutRepository
from tests.conftest import need


def base_image(folder: Path) -> str:
    """A base of one layer, in a layout."""
    repository = LayoutRepository(LayoutLocation(path=folder / "base"))
    inner = b"the libc"
    layer = artifacts.described(LAYER_GZIP, gzip.compress(inner, mtime=0))
    about = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(inner))]}}
    config = artifacts.described(CONFIG, json.dumps(about).encode())
    repository.put_blob(layer, lambda: io.BytesIO(gzip.compress(inner, mtime=0)))
    repository.put_blob(config, lambda: io.BytesIO(json.dumps(about).encode()))
    repository.put_manifest(ImageManifest(media_type=MANIFEST, config=config, layers=(layer,), annotations={}).raw(), "1")
    repository.flush()
    return f"oci-layout:{folder}/base:1"


def base_of_this_machine(folder: Path, *programs: str) -> str:
    """A base that holds the libc of this machine, the programs of /bin that are named, and nothing else."""
    umoci, rootfs, base = need("umoci"), folder / "rootfs", f"{folder}/base"
    for library in ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"):
        for place in (Path("/lib64"), Path("/lib"), *Path("/lib").glob("*-linux-gnu")):
            if (place / library).is_file():
                target = rootfs / place.relative_to("/") / library
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(place / library, target)
    for program in programs:
        path = rootfs / "bin" / program
        path.parent.mkdir(exist_ok=True)
        shutil.copy(f"/bin/{program}", path)
    subprocess.run([umoci, "init", "--layout", base], check=True, capture_output=True)
    subprocess.run([umoci, "new", "--image", f"{base}:1"], check=True, capture_output=True)
    subprocess.run([umoci, "insert", "--rootless", "--image", f"{base}:1", str(rootfs), "/"], check=True, capture_output=True)
    return f"oci-layout:{base}:1"
