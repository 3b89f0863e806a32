"""From requests to a lock: one concretization for all of them, remembered; what Spack refuses is set aside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cachelib.model.develop import Code
from cachelib.model.errors import ConfigError
from cachelib.model.oci import Location, RegistryLocation
from cachelib.model.outcome import Rejected
from cachelib.model.stack import Stack
from cachelib.model.upstream import upstream_mirrors
from cachelib.pipeline.repositories import recipes_key
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import building
from cachelib.steps.developing import check_known
from cachelib.tools import git
from cachelib.tools.files import write_atomically
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.spack import Spack, spack_reason


def concretize(
    ws: Workspace,
    spack: Spack,
    name: str,
    stack: Stack,
    requests: tuple[str, ...],
    asked: bool,
    mirror: DiskMirror,
    location: Location,
    code: tuple[Code, ...] = (),
) -> tuple[Path, building.Lock | None, list[Rejected]]:
    """One concretization for all requests; those that Spack refuses are set aside with its reason. A lock is remembered."""
    given = given_environment(ws, stack)
    if given is not None:
        listed = given.get("specs") or []
        if all(isinstance(item, str) for item in listed):
            # Plain specs are requests like any other, so that a bad one doesn't cost the rest.
            requests = requests if asked else (*listed, *requests)
            given = {**given, "specs": []}
    recipes = "".join(recipes_key(ws, stack))
    mirrors = {"cache-mirror": mirror.root.as_uri()}
    if isinstance(location, RegistryLocation):
        mirrors["cache-registry"] = str(location)
    mirrors |= upstream_mirrors(stack.upstreams)

    def attempt(wanted: Sequence[str]) -> tuple[Path, str]:
        """Concretize; return the environment's folder and, where it failed, Spack's reason."""
        data = building.environment_yaml(stack, wanted, machine=ws.machine, mirrors=mirrors, given=given, code=code)
        text = yaml.safe_dump(data, sort_keys=False)
        key = building.lock_key(git.head(spack.root, ws.env) or stack.spack.commit, stack, text, spack.detected(), recipes)
        env = ws.var / "work" / stack.image_name / "env" / f"{name}-{key[:12]}"
        if (env / "spack.lock").is_file():
            ws.progress.say(f"the concretization of {', '.join(wanted) or stack.environment} is remembered")
            return env, ""
        write_atomically(env / "spack.yaml", text.encode())
        ws.progress.say(f"concretizing {', '.join(wanted) or stack.environment} (a minute or more; the result is remembered)")
        done = spack.concretize(env)
        return env, "" if (env / "spack.lock").is_file() else spack_reason(done.lines)

    refused = spack.parse(requests)
    rejected = [building.rejection(request, reason) for request, reason in refused.items()]
    wanted = [request for request in requests if request not in refused]
    whole = given is not None and bool(given.get("specs"))
    if not wanted and not whole:
        return Path(), None, rejected
    env, reason = attempt(wanted)
    if reason and len(wanted) > 1 and not whole:
        # Together they fail: find out who is to blame, so that the others are built all the same.
        alone = {request: attempt([request])[1] for request in wanted}
        rejected += [building.rejection(request, why) for request, why in alone.items() if why]
        wanted = [request for request, why in alone.items() if not why]
        if wanted and any(alone.values()):
            env, reason = attempt(wanted)
    if reason:
        rejected += [building.rejection(request, reason) for request in wanted or ([stack.environment] if whole else [])]
        return env, None, rejected
    lock = building.parse_lock(json.loads((env / "spack.lock").read_text(encoding="utf-8")))
    check_known(lock)
    return env, lock, rejected


def given_environment(ws: Workspace, stack: Stack) -> dict[str, Any] | None:
    """What the person's own spack.yaml says, where the stack names one; raise ConfigError where it can't be read."""
    if not stack.environment:
        return None
    path = ws.folder / stack.environment
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("spack"), dict):
        raise ConfigError(f"{path} is no Spack environment", hint="it begins with `spack:`")
    found = dict(data["spack"])
    if isinstance(found.get("include"), list):
        # Relative to the person's file, which is not where the build's own environment lies.
        found["include"] = [
            str((path.parent / item).resolve()) if isinstance(item, str) and "://" not in item and not item.startswith(("$", "~")) else item
            for item in found["include"]
        ]
    return found
