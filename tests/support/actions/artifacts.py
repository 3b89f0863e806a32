"""Stand-ins for actions/upload-artifact and actions/download-artifact."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.support.actions.globs import search, translate
from tests.support.actions.settings import Action
from tests.support.actions.state import ActionError


def upload_artifact(action: Action) -> None:
    """Files by patterns, below what their paths have in common."""
    action.accept(
        "path",
        "retention-days",
        name="artifact",
        if_no_files_found="warn",
        compression_level="6",
        overwrite="false",
        include_hidden_files="false",
    )
    inputs = action.inputs
    if not inputs["path"].strip():
        raise ActionError("Input required and not supplied: path")
    if inputs["if-no-files-found"] not in ("warn", "error", "ignore"):
        raise ActionError(f"Unrecognized if-no-files-found input: {inputs['if-no-files-found']}")
    found = search(inputs["path"], action.workspace, hidden=inputs["include-hidden-files"] == "true")
    if not found.files:
        text = f"No files were found with the provided path: {inputs['path']}. No artifacts will be uploaded."
        if inputs["if-no-files-found"] == "error":
            raise ActionError(text)
        (action.warn if inputs["if-no-files-found"] == "warn" else action.say)(text)
        return
    if len(found.searched) > 1:
        root = Path(os.path.commonpath(found.searched))
    else:
        root = found.searched[0]
        root = root.parent if found.files == [root] else root
    artifact = action.shared.settings.state.store(
        action.shared.run,
        inputs["name"],
        {str(path.relative_to(root)): path for path in found.files},
        action.job,
        overwrite=inputs["overwrite"] == "true",
        level=int(inputs["compression-level"]),
        days=int(inputs["retention-days"]) if inputs["retention-days"] else None,
    )
    home = f"{action.shared.settings.state.server_url}/{action.shared.settings.repo.name}"
    action.outputs |= {
        "artifact-id": str(artifact.id),
        "artifact-digest": artifact.digest.removeprefix("sha256:"),
        "artifact-url": f"{home}/actions/runs/{action.shared.run.id}/artifacts/{artifact.id}",
    }
    action.say(f"Artifact {artifact.name} has been successfully uploaded! {len(found.files)} files, {artifact.size} bytes")


def download_artifact(action: Action) -> None:
    """One by its name right into the folder; several each into one of its own, unless they are merged."""
    action.accept("name", "artifact-ids", "pattern", "path", merge_multiple="false")
    inputs, latest = action.inputs, action.shared.settings.state.latest(action.shared.run)
    target = action.workspace / inputs["path"]
    target.mkdir(parents=True, exist_ok=True)
    if inputs["name"]:
        if inputs["name"] not in latest:
            raise ActionError(f"Unable to download artifact(s): Artifact not found for name: {inputs['name']}")
        chosen, flat = [latest[inputs["name"]]], True
    elif inputs["artifact-ids"]:
        wanted = {part.strip() for part in inputs["artifact-ids"].split(",")}
        chosen = [artifact for artifact in action.shared.run.artifacts if str(artifact.id) in wanted]
        if len(chosen) < len(wanted):
            raise ActionError(f"None or not all of the artifacts were found: {inputs['artifact-ids']}")
        flat = len(chosen) == 1
    else:
        fits = re.compile(translate(inputs["pattern"] or "*"))
        chosen, flat = [artifact for name, artifact in sorted(latest.items()) if fits.fullmatch(name)], False
    for artifact in chosen:
        artifact.unpack(target if flat or inputs["merge-multiple"] == "true" else target / artifact.name)
    action.outputs["download-path"] = str(target)
    action.say(f"Total of {len(chosen)} artifact(s) downloaded")
