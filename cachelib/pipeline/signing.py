"""The keys of a cache where it is worked on: public halves beside cache.yaml, the private one in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cachelib.model.check import Check
from cachelib.model.entry import EntryName
from cachelib.model.errors import CacheError, SigningError
from cachelib.model.ports import Repository
from cachelib.model.signing import KEY_LIMIT, Key, PublicKey
from cachelib.pipeline.workspace import Workspace, now
from cachelib.steps import remembering, signing, signing_checks
from cachelib.steps.signing import SECRET, Policy, Signed
from cachelib.tools.files import read_limited
from cachelib.tools.gpg import Gpg
from cachelib.tools.mirror import DiskMirror

#: A key that expires so soon is told of by `inv doctor`.
_SOON = timedelta(days=30)


def keys_folder(ws: Workspace) -> Path:
    """Where the public keys of a cache are committed."""
    return ws.folder / "keys"


def upstream_keys_folder(ws: Workspace) -> Path:
    """Where the public keys are committed by which builds of upstreams are checked, and no builds of the cache's own."""
    return keys_folder(ws) / "upstreams"


def public_keys(ws: Workspace, folder: Path | None = None) -> tuple[PublicKey, ...]:
    """The public keys beside cache.yaml, or of another folder; raise SigningError for a file that holds none."""
    paths = sorted((folder or keys_folder(ws)).glob("*.pub"))
    if not paths:
        return ()
    found: list[PublicKey] = []
    for path in paths:
        with Gpg(ws.env) as gpg:
            gpg.import_keys(_read(path))
            held = gpg.public_keys()
        if not held:
            raise SigningError(f"{path} holds no public key", hint="`gpg --armor --export FINGERPRINT` writes one")
        found += held
    return tuple(sorted({one.key.fingerprint: one for one in found}.values(), key=lambda one: one.key.fingerprint))


def _read(path: Path) -> bytes:
    try:
        return read_limited(path, KEY_LIMIT, "a key")
    except (OSError, CacheError) as error:
        raise SigningError(f"{path} can't be read: {error}") from None


@contextmanager
def policy_of(ws: Workspace, repository: Repository | None = None, *, required: bool = False) -> Iterator[Policy | None]:
    """How signatures are checked: by the keys beside cache.yaml, or by those that the registry tells of; nothing where there are none.

    The keys of one's own checkout come first: who may push to the registry may put keys there, too.
    """
    keys = public_keys(ws)
    if not keys and repository is not None:
        keys = remembering.known_keys(repository)
        if keys:
            ws.progress.say(f"no keys in {keys_folder(ws)}: those of {repository.name} are taken, which whoever may push there may set")
    if not keys:
        if required:
            raise SigningError("there are no keys to check signatures with", hint=f"put the cache's public keys into {keys_folder(ws)}")
        yield None
        return
    with _checking(ws, keys, required=required) as policy:
        yield policy


@contextmanager
def upstream_policy(ws: Workspace, own: Policy | None, *, required: bool = False) -> Iterator[Policy | None]:
    """How signatures of what upstreams have are checked: by the keys in keys/upstreams, and the cache's own; nothing where there are none.

    What another key signed counts as unsigned: whose it is isn't known here.
    """
    keys = (*(own.keys if own else ()), *public_keys(ws, upstream_keys_folder(ws)))
    if not keys:
        yield None
        return
    with _checking(ws, keys, required=required, strangers=True) as policy:
        yield policy


@contextmanager
def _checking(ws: Workspace, keys: Sequence[PublicKey], *, required: bool, strangers: bool = False) -> Iterator[Policy]:
    with Gpg(ws.env) as gpg:
        for one in keys:
            gpg.import_keys(one.data)
        known = gpg.public_keys()  # as gpg reads them, whatever was told beside them
        yield Policy(verifier=gpg, keys=known, required=required, strangers=strangers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """A keyring that holds the private key and all public ones, and the key to sign with."""

    gpg: Gpg
    key: Key
    keys: tuple[PublicKey, ...]


@contextmanager
def open_signing(ws: Workspace) -> Iterator[Signing | None]:
    """What entries are signed with; nothing where no private key is in the environment. Raise SigningError for a key that won't do."""
    secret = ws.env.get(SECRET, "").strip()
    if not secret:
        yield None
        return
    keys = public_keys(ws)
    with Gpg(ws.env, ws.env.get("CACHE_SIGNING_PASSPHRASE", "")) as gpg:
        gpg.import_keys(os.fsencode(secret) + b"\n")
        key = signing.choose_key(gpg.keys(secret=True), keys, now())
        for one in keys:
            gpg.import_keys(one.data)
        yield Signing(gpg=gpg, key=key, keys=keys)


def check_signing(ws: Workspace) -> Iterator[Check]:
    """What `inv doctor` tells of the keys."""
    public: Sequence[PublicKey] | SigningError
    secret: Key | None = None
    try:
        public = public_keys(ws)
        with open_signing(ws) as found:
            secret = found.key if found is not None else None
    except SigningError as error:
        public = error
    soon = (datetime.now(UTC) + _SOON).strftime("%Y-%m-%dT%H:%M:%SZ")
    yield from signing_checks.signing_checks(public, secret, now(), soon)


def sign_new(ws: Workspace, mirror: DiskMirror, names: Sequence[EntryName]) -> Signed | None:
    """Sign what is about to be published and isn't signed yet, where there is a key to do so; raise SigningError where that fails."""
    if not names:
        return None
    with open_signing(ws) as found:
        if found is None:
            if any(not one.key.revoked for one in public_keys(ws)):
                ws.progress.say(f"WARNING: {SECRET} is not set: what is pushed from here is not signed, though this cache has keys")
            return None
        done = signing.sign_entries(mirror, names, found.gpg, found.key, ws.progress)
        if done.failed:
            label, reason = next(iter(done.failed.items()))
            raise SigningError(f"{label} could not be signed: {reason}", hint="nothing was pushed: what is published is to be signed")
        mirror.write_keys(found.keys)
        return done
