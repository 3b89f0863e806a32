"""From requests to a lock: one concretization a target for all of them, remembered; what Spack refuses is set aside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from cachelib.model.develop import Code
from cachelib.model.errors import BuildError, ConfigError
from cachelib.model.oci import Location, RegistryLocation
from cachelib.model.outcome import Elsewhere, Rejected
from cachelib.model.request import with_target
from cachelib.model.stack import Stack
from cachelib.model.upstream import upstream_mirrors
from cachelib.pipeline.repositories import recipes_key
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import building
from cachelib.steps.compilers import check_built
from cachelib.steps.developing import check_known
from cachelib.steps.environments import environment_yaml, lock_key, merge_locks, merged_yaml
from cachelib.steps.targets import Batch, divide
from cachelib.tools import git
from cachelib.tools.files import write_atomically
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.spack import Spack, spack_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """Requests, concretized: the environment's folder, its lock (none where Spack refused them all), and what is not in it."""

    env: Path = field(default_factory=Path)
    lock: building.Lock | None = None
    rejected: tuple[Rejected, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Concretizer:
    """What all concretizations of a stack have in common. `code` is built as its commits."""

    ws: Workspace
    spack: Spack
    name: str
    stack: Stack
    mirror: DiskMirror
    location: Location
    code: tuple[Code, ...] = ()
    reuse: Mapping[str, Any] | None = None

    def concretize(self, requests: tuple[str, ...], *, asked: bool, every: bool) -> Locked:
        """One concretization a target for all requests; those that Spack refuses are set aside with its reason. A lock is remembered.

        The requests are those that were `asked` for, or the stack's own; with `every`, targets that this CPU can't run are not left out.
        """
        given = given_environment(self.ws, self.stack)
        if given is not None:
            listed = given.get("specs") or []
            if all(isinstance(item, str) for item in listed):
                # Plain specs are requests like any other, so that a bad one doesn't cost the rest.
                requests = requests if asked else (*listed, *requests)
                given = {**given, "specs": []}
        refused = self.spack.parse(requests)
        rejected = [building.rejection(request, reason) for request, reason in refused.items()]
        wanted = [request for request in requests if request not in refused]
        parts = divide(self.stack.targets, wanted, machine=self.ws.machine, cpu=self.ws.cpu, every=every)
        if self.stack.targets and not parts.batches:
            reasons = "; ".join(dict.fromkeys(one.reason for one in parts.elsewhere))
            raise BuildError(
                f"this machine can build nothing of stack {self.name}: {reasons}",
                hint="build on a machine that can, or name a lower target in `targets`",
            )
        found = []
        suspects: set[str] = set()
        for batch in parts.batches:
            target = batch.target if len(parts.batches) > 1 else ""
            doubtful = frozenset(with_target(request, batch.target) for request in suspects)
            # A target that one request names is for that one: what the environment lists as a whole is for those of the stack.
            listed_here = given if batch.target in ("", *self.stack.targets) else given and {**given, "specs": []}
            user, tools, bad = self._with_compiler(batch, listed_here)
            rejected += bad
            if bad:
                why = f"{bad[0].request}, which is to build it, is refused"
                rejected += [building.rejection(request, why) for request in batch.requests or (self.stack.environment,)]
                continue
            env, lock, bad = user._batch(batch, listed_here, doubtful)
            rejected += bad
            refused_here = {one.request for one in bad}
            suspects |= {request for request in wanted if with_target(request, batch.target) in refused_here}
            found += [(target, *one) for one in (*tools, (env, lock))] if lock is not None else []
        folder, lock = self._merge(found, given) if len(found) > 1 else (found[0][1], found[0][2]) if found else (Path(), None)
        return Locked(env=folder, lock=lock, rejected=tuple(rejected), elsewhere=parts.elsewhere)

    def _with_compiler(
        self, batch: Batch, given: Mapping[str, Any] | None
    ) -> tuple[Concretizer, list[tuple[Path, building.Lock]], list[Rejected]]:
        """What concretizes requests with the compiler that is built for them, and that itself: it is concretized first, alone.

        Spack compiles with nothing that is not concrete already.
        """
        compiler = self.stack.build_compiler
        if not compiler or not (batch.requests or (given and given.get("specs"))):
            return self, [], []
        asked = replace(batch, requests=(with_target(compiler, batch.target),))
        env, lock, rejected = self._batch(asked, given and {**given, "specs": []}, frozenset())
        if lock is not None:
            check_built(lock)
        reuse = {"from": [{"type": "environment", "path": str(env), "include": [compiler.partition("@")[0]]}]}
        return replace(self, reuse=reuse), [(env, lock)] if lock is not None else [], rejected

    def _batch(
        self, batch: Batch, given: Mapping[str, Any] | None, doubtful: frozenset[str]
    ) -> tuple[Path, building.Lock | None, list[Rejected]]:
        """Concretize the requests of a target; the `doubtful` ones, which Spack refused for another, come after the others."""
        wanted, whole = list(batch.requests), given is not None and bool(given.get("specs"))
        if not wanted and not whole:
            return Path(), None, []
        rejected = list[Rejected]()
        sound = wanted if whole else [request for request in wanted if request not in doubtful] or wanted
        env, reason = self._attempt(batch, sound, given)
        blamed = wanted if reason else [request for request in wanted if request not in sound]
        if blamed and len(wanted) > 1 and not whole:
            # Together they fail: find out who is to blame, so that the others are built all the same.
            alone = {request: self._attempt(batch, [request], given)[1] for request in blamed}
            rejected += [building.rejection(request, why) for request, why in alone.items() if why]
            wanted = [request for request in wanted if not alone.get(request)]
            if wanted and wanted != sound:
                env, reason = self._attempt(batch, wanted, given)
        if reason:
            rejected += [building.rejection(request, reason) for request in wanted or ([self.stack.environment] if whole else [])]
            return env, None, rejected
        lock = building.parse_lock(_lock_file(env))
        check_known(lock)
        return env, lock, rejected

    def _attempt(self, batch: Batch, wanted: Sequence[str], given: Mapping[str, Any] | None) -> tuple[Path, str]:
        """Concretize; return the environment's folder and, where it failed, Spack's reason."""
        what = ", ".join(wanted) or self.stack.environment
        made = self._yaml(wanted, given, batch.target, beyond=batch.beyond)
        text = yaml.safe_dump(made, sort_keys=False)
        env = self._folder(self._key(text))
        if "include" in made["spack"]:
            (env / "spack.lock").unlink(missing_ok=True)  # what those files say by now is Spack's to find out
        elif (env / "spack.lock").is_file():
            self.ws.progress.say(f"the concretization of {what} is remembered")
            return env, ""
        write_atomically(env / "spack.yaml", text.encode())
        self.ws.progress.say(f"concretizing {what} (a minute or more; the result is remembered)")
        done = self.spack.concretize(env)
        return env, "" if (env / "spack.lock").is_file() else spack_reason(done.lines)

    def _merge(self, parts: Sequence[tuple[str, Path, building.Lock]], given: Mapping[str, Any] | None) -> tuple[Path, building.Lock]:
        """The environments of several targets as one, which Spack installs, describes and pushes as any other."""
        merged = merge_locks([(target, _lock_file(env)) for target, env, _ in parts])
        text = yaml.safe_dump(merged_yaml(self._yaml((), given, ""), merged), sort_keys=False)
        env = self._folder(hashlib.sha256("\n".join((*(path.name for _, path, _ in parts), text)).encode()).hexdigest())
        write_atomically(env / "spack.yaml", text.encode())
        write_atomically(env / "spack.lock", json.dumps(merged).encode())
        return env, building.parse_lock(merged)

    def _yaml(self, wanted: Sequence[str], given: Mapping[str, Any] | None, target: str, *, beyond: bool = False) -> dict[str, Any]:
        mirrors = {"cache-mirror": self.mirror.root.as_uri()}
        if isinstance(self.location, RegistryLocation):
            mirrors["cache-registry"] = str(self.location)
        mirrors |= upstream_mirrors(self.stack.upstreams)
        return environment_yaml(
            self.stack, wanted, target=target, beyond=beyond, reuse=self.reuse, mirrors=mirrors, given=given, code=self.code
        )

    def _key(self, text: str) -> str:
        commit = git.head(self.spack.root, self.ws.env) or self.stack.spack.commit
        return lock_key(commit, self.stack, text, self.spack.detected(), "".join(recipes_key(self.ws, self.stack)))

    def _folder(self, key: str) -> Path:
        return self.ws.var / "work" / self.stack.image_name / "env" / f"{self.name}-{key[:12]}"


def _lock_file(env: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((env / "spack.lock").read_text(encoding="utf-8"))
    return found


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
