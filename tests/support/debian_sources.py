"""Upstream archives out of Debian's source packages, laid out as a Spack source mirror: builds of real packages need no upstream."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path


def source_mirror(folder: Path, packages: list[str]) -> Path | None:
    """Fetch source packages with the machine's own apt; give a mirror of their upstream archives, or nothing where that can't be."""
    if shutil.which("apt-get") is None:
        return None
    parts, lists, fetched = folder / "parts", folder / "lists", folder / "fetched"
    for made in (parts, lists / "partial", fetched):
        made.mkdir(parents=True)
    for path in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if path.suffix in (".sources", ".list") and path.is_file():
            text = path.read_text(encoding="utf-8")
            text = (
                re.sub(r"(?m)^Types:.*$", "Types: deb-src", text) if path.suffix == ".sources" else re.sub(r"(?m)^deb ", "deb-src ", text)
            )
            (parts / path.name).write_text(text, encoding="utf-8")
    options = ["-qq", "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={parts}", "-o", f"Dir::State::Lists={lists}"]
    env = {**os.environ, "LC_ALL": "C"}
    for command in (["update"], ["source", "--download-only", *packages]):
        done = subprocess.run(["apt-get", *options, *command], cwd=fetched, env=env, capture_output=True, timeout=300, check=False)
        if done.returncode != 0:
            return None
    mirror = folder / "mirror"
    for archive in fetched.glob("*.orig.tar.gz"):
        checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
        target = mirror / "_source-cache" / "archive" / checksum[:2] / f"{checksum}.tar.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(archive, target)
    return mirror
