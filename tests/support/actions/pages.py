"""Stand-ins for actions/upload-pages-artifact, actions/deploy-pages and actions/attest: what they made public is kept for the test."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.actions.globs import search
from tests.support.actions.records import Attestation, Deployment
from tests.support.actions.settings import Action
from tests.support.actions.state import ActionError

#: README of actions/attest: a statement has no more subjects.
SUBJECTS = 1024


def upload_pages_artifact(action: Action) -> None:
    """A folder as one tar in one artifact; links are followed, git's files and hidden ones stay out."""
    action.accept(path="_site/", name="github-pages", retention_days="1", include_hidden_files="false")
    inputs = action.inputs
    root = action.workspace / inputs["path"]
    if not root.is_dir():
        raise ActionError(f"tar: {inputs['path']}: Cannot open: No such file or directory")
    tar = action.temp / "artifact.tar"
    with tarfile.open(tar, "w", dereference=True) as archive:
        for folder, folders, names in os.walk(root, followlinks=True):
            gone = {".git", ".github"}
            folders[:] = sorted(n for n in folders if n not in gone and (inputs["include-hidden-files"] == "true" or not n.startswith(".")))
            for name in sorted(names):
                if inputs["include-hidden-files"] == "true" or not name.startswith("."):
                    path = Path(folder, name)
                    info = archive.gettarinfo(str(path), f"./{path.relative_to(root)}")
                    info.type = tarfile.REGTYPE  # hard links are files here, too
                    info.size = path.stat().st_size
                    with path.open("rb") as file:
                        archive.addfile(info, file)
    artifact = action.shared.settings.state.store(
        action.shared.run, inputs["name"], {"artifact.tar": tar}, action.job, overwrite=False, level=0, days=int(inputs["retention-days"])
    )
    action.outputs["artifact_id"] = str(artifact.id)


def deploy_pages(action: Action) -> None:
    """What upload-pages-artifact left, laid out in a folder."""
    action.accept("token", "preview", artifact_name="github-pages", timeout="600000", error_count="10", reporting_interval="5000")
    if action.permissions.get("id-token") != "write":
        raise ActionError('Ensure GITHUB_TOKEN has permission "id-token: write".')
    action.need("id-token", "write")
    action.need("pages", "write")
    if not action.environment:
        raise ActionError(
            "Failed to create deployment (status: 400). Missing environment. Ensure your workflow's deployment job has an environment."
        )
    run, state = action.shared.run, action.shared.settings.state
    chosen = [one for one in run.artifacts if one.name == action.inputs["artifact-name"] and one.attempt == run.attempt]
    chosen = chosen or [one for name, one in state.latest(run).items() if name == action.inputs["artifact-name"]]
    if not chosen:
        raise ActionError(f'No artifacts named "{action.inputs["artifact-name"]}" were found for this workflow run.')
    owner, name = action.shared.settings.repo.name.split("/")
    url = (state.pages or {}).get("html_url") or f"https://{owner}.github.io/{name}/"
    with state.lock:
        folder = run.folder / "_pages" / str(len(run.deployments) + 1)
        run.deployments.append(Deployment(url=url, folder=folder, job=action.job, environment=action.environment))
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(chosen[-1].files()["artifact.tar"])) as archive:
        archive.extractall(folder, filter="data")
    action.outputs["page_url"] = url
    action.say(f"Reported success! Deployed to {url}")


def attest(action: Action) -> None:
    """The subjects with their digests, as they would have been signed."""
    action.accept(
        "subject-path", "subject-digest", "subject-name", "subject-checksums", "predicate-type", "predicate", "predicate-path", "sbom-path",
        "github-token", push_to_registry="false", create_storage_record="true", show_summary="true",
    )  # fmt: skip
    inputs = action.inputs
    given = [name for name in ("subject-path", "subject-digest", "subject-checksums") if inputs[name]]
    if len(given) != 1:
        raise ActionError("One of subject-path, subject-digest, or subject-checksums must be provided, and only one")
    subjects = {"subject-path": _paths, "subject-digest": _digest, "subject-checksums": _checksums}[given[0]](action)
    if not subjects:
        raise ActionError("Could not find subject at path" if given[0] == "subject-path" else "No subjects found")
    if len(subjects) > SUBJECTS:
        raise ActionError(f"Too many subjects specified ({len(subjects)}). The maximum number of subjects is {SUBJECTS}.")
    # As the action does: it names the file, has it signed and kept, and writes it then (attest, src/main.ts).
    bundle = action.temp / f"attestation-{secrets.token_hex(4)}.json"
    action.outputs["bundle-path"] = str(bundle)
    for permission in ("id-token", "attestations"):
        action.need(permission, "write")
    with action.shared.settings.state.lock:
        kept = {name: value for name, value in inputs.items() if value and name != "github-token"}
        action.shared.run.attestations.append(Attestation(subjects=tuple(subjects), job=action.job, inputs=kept))
        number = len(action.shared.run.attestations)
    bundle.write_text(json.dumps(_bundle(subjects)), encoding="utf-8")
    home = f"{action.shared.settings.state.server_url}/{action.shared.settings.repo.name}"
    action.outputs |= {"attestation-id": str(number), "attestation-url": f"{home}/attestations/{number}"}


def _bundle(subjects: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What the action writes, with no signature in it."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1", "predicate": {},
        "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}} for name, digest in subjects],
    }  # fmt: skip
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    envelope = {"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []}
    return {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {}, "dsseEnvelope": envelope}


def _paths(action: Action) -> list[tuple[str, str]]:
    patterns = "\n".join(part.strip() for line in action.inputs["subject-path"].splitlines() for part in line.split(","))
    files = search(patterns, action.workspace).files
    return [(action.inputs["subject-name"] or path.name, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}") for path in files]


def _digest(action: Action) -> list[tuple[str, str]]:
    digest = action.inputs["subject-digest"]
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not action.inputs["subject-name"]:
        raise ActionError('subject-digest must be in the format "sha256:<hex-digest>", and subject-name must be provided')
    return [(action.inputs["subject-name"], digest)]


def _checksums(action: Action) -> list[tuple[str, str]]:
    text = action.inputs["subject-checksums"]
    path = action.workspace / text.strip() if "\n" not in text.strip() else None
    if path is not None and path.is_file():
        text = path.read_text(encoding="utf-8")
    subjects = []
    for line in filter(None, map(str.strip, text.splitlines())):
        found = re.fullmatch(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{128})\s[ *]?(.+)", line)
        if found is None:
            raise ActionError(f"Invalid checksum: {line}")
        subjects.append((found[2], f"{'sha256' if len(found[1]) == 64 else 'sha512'}:{found[1].lower()}"))
    return list(dict.fromkeys(subjects))
