"""Plans where they lie: in a folder, or in the artifacts of a run of GitHub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cachelib.model.errors import FormatError, UsageError
from cachelib.model.oci import parse_json
from cachelib.model.plan import StackPlan, parse_plan
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import building
from cachelib.tools.files import read_limited, write_atomically
from cachelib.tools.github_run import GitHubRun
from cachelib.tools.parts import PartFolder
from cachelib.tools.unzip import unpack

#: The file of a plan, beside its concretization, that says what its stack wants: where the registry doesn't know it yet.
WANTED_FILE = "wanted.json"
#: What the artifact of a plan may hold at most: files, bytes.
_FILES, _BYTES = 1000, 2 * 10**9
#: Bytes of a plan, or of one of its files: a concretization of 100,000 specs fits.
_LIMIT = 256 * 1024 * 1024


def plan_folder(ws: Workspace, plan: str) -> Path:
    """Where a plan lies."""
    return Path(plan).resolve() if plan else ws.var / "plan"


def parts_folder(ws: Workspace, parts: str) -> Path:
    """Where workers put what they hand on."""
    return Path(parts).resolve() if parts else ws.var / "parts"


def write_plan(folder: Path, meta: Mapping[str, Any], plans: list[StackPlan], files: Mapping[str, bytes]) -> str:
    """Write a plan and the files that it names; return the digest of it all (sha256, hex)."""
    body = {
        "meta": dict(meta),
        "stacks": [made.json() for made in plans],
        "matrix": [job for made in plans for job in made.jobs()],
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    for name, data in files.items():
        write_atomically(folder / name, data)
    # Last: who finds a plan finds all that it names.
    data = (json.dumps(body, indent=1) + "\n").encode()
    write_atomically(folder / "plan.json", data)
    return hashlib.sha256(data).hexdigest()


def fetch_plan(run: GitHubRun, folder: Path, shared: PartFolder, name: str = "plan") -> None:
    """Take the plan of a run from its artifacts, unless it is there already; raise UsageError where the run has none."""
    if (folder / "plan.json").is_file():
        return
    artifact = run.artifact(name)
    if artifact is None:
        raise UsageError(f"this run has no artifact {name!r}", hint="the job that plans hands it on")
    with shared.scratch() as place:
        archive = place / "plan.zip"
        run.download(artifact, archive)
        folder.mkdir(parents=True, exist_ok=True)
        unpack(archive, place / "plan", files=_FILES, size=_BYTES)
        # The plan itself last: what was cut off half-way is fetched anew.
        for path in sorted((place / "plan").rglob("*"), key=lambda path: (path.name == "plan.json", path)):
            if path.is_file():
                write_atomically(folder / path.relative_to(place / "plan"), _whole(path))


def read_plans(folder: Path, digest: str = "") -> tuple[StackPlan, ...]:
    """The plans in a folder; raise UsageError where they can't be read, FormatError where they have another digest than asked for.

    The digest is what one job tells the next through GitHub itself: artifacts can be replaced by whatever is built.
    """
    return parse_plan(_read(folder, digest))


def verified_files(folder: Path, digest: str) -> dict[str, bytes]:
    """The files that a plan names; raise FormatError where one is not what the plan says."""
    body = _read(folder, digest)
    names = body.get("files") or {}
    for name in names:
        _check(body, name, folder, digest)
    return {name: _whole(folder / name) for name in names}


def remembered_keys(folder: Path, digest: str = "") -> dict[str, str]:
    """The plans whose concretization is new, by their keys, each with what it is to be remembered by."""
    return {str(plan): str(key) for plan, key in _read(folder, digest)["meta"].get("remember", {}).items()}


def plan_meta(folder: Path, digest: str = "") -> tuple[str, bool]:
    """When a plan was made (RFC 3339, UTC; empty where it doesn't tell): what it has built is no older. And whether it had to leave out
    whole stacks, as a run has no more jobs."""
    meta = _read(folder, digest)["meta"]
    return str(meta.get("created", "")), bool(meta.get("left"))


def read_plan(folder: Path, key: str, digest: str = "") -> tuple[StackPlan, building.Lock]:
    """One plan by its key or stack (the only one that builds something, where neither is named), and its concretization."""
    body = _read(folder, digest)
    busy = [plan for plan in parse_plan(body) if plan.schedule.workers]
    found = [plan for plan in busy if key in ("", plan.key, plan.stack)]
    if len(found) != 1:
        raise UsageError(
            f"{folder} has {len(found) or 'no'} plans that build something" + (f" for {key!r}" if key else ""),
            hint=f"--plan-key names one of: {', '.join(plan.key for plan in busy)}" if busy else "there is nothing to build",
        )
    path = folder / found[0].key / "spack.lock"
    try:
        data = _whole(path)
        for name in ("spack.lock", "spack.yaml"):
            _check(body, f"{found[0].key}/{name}", folder, digest)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error}", hint="run `inv plan` again") from None
    try:
        lock = building.parse_lock(parse_json(data, "it"))
    except FormatError as error:
        raise UsageError(f"{path} can't be read: {error}", hint="run `inv plan` again") from None
    if not set(found[0].schedule.place()) <= lock.nodes.keys():
        raise FormatError(f"{path} is not the concretization of this plan", hint="run `inv plan` again")
    return found[0], lock


def _check(body: Mapping[str, Any], name: str, folder: Path, digest: str) -> None:
    """Raise FormatError where a file is not the one that the plan names; one that it doesn't name must not matter."""
    wanted = body.get("files", {}).get(name)
    if wanted is None and not digest:
        return
    if hashlib.sha256(_whole(folder / name)).hexdigest() != wanted:
        raise FormatError(f"{folder / name} is not the file that belongs to this plan", hint="run `inv plan` again")


def _whole(path: Path) -> bytes:
    return read_limited(path, _LIMIT, "a file of a plan")


def _read(folder: Path, digest: str) -> dict[str, Any]:
    path = folder / "plan.json"
    try:
        data = _whole(path)
    except (OSError, FormatError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint="`inv plan` writes it") from None
    if digest and hashlib.sha256(data).hexdigest() != digest:
        raise FormatError(f"{path} is not the plan that this run made", hint="something replaced it: look at what this run built")
    try:
        body = parse_json(data, "it")
        parse_plan(body)
    except FormatError as error:
        raise UsageError(f"{path} can't be read: {error}", hint="`inv plan` writes it") from None
    return body
