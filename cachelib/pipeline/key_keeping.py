"""The keys of a cache: made, listed, revoked; and what they signed, checked and signed anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from cachelib.model.errors import MirrorError, SigningError, UsageError
from cachelib.pipeline.signing import keys_folder, open_signing, policy_of, public_keys, upstream_policy
from cachelib.pipeline.workspace import Workspace, now
from cachelib.steps import reports, signing, signing_reports
from cachelib.steps.reports import Report
from cachelib.steps.signing import SECRET
from cachelib.tools.files import write_atomically
from cachelib.tools.gpg import Gpg
from cachelib.tools.mirror import DiskMirror

#: A key is good for so many days, where nobody says otherwise: two years.
DAYS = 730
ACTIONS = ("create", "list", "sign", "verify", "revoke")


def keys(ws: Workspace, action: str, name: str = "", key: str = "", out: str = "", *, days: int = DAYS, required: bool = False) -> Report:
    """Do one of the actions on keys."""
    actions: Mapping[str, Callable[[], Report]] = {
        "create": partial(_create, ws, name, days),
        "list": lambda: signing_reports.keys_report(public_keys(ws), now(), str(keys_folder(ws))),
        "sign": partial(_sign, ws, out),
        "verify": partial(_verify, ws, out, required=required),
        "revoke": partial(_revoke, ws, key),
    }
    if action not in actions:
        raise UsageError(f"keys can't {action!r}", hint=f"one of: {', '.join(ACTIONS)}")
    return actions[action]()


def _create(ws: Workspace, name: str, days: int) -> Report:
    if not 0 <= days <= 36500:
        raise UsageError(f"--days is {days}", hint="from 1 to 36500, or 0 for a key that doesn't expire")
    with Gpg(ws.env, ws.env.get("CACHE_SIGNING_PASSPHRASE", "")) as gpg:
        made = gpg.create(name or f"{ws.settings.vendor or ws.settings.site.title} (signs a Spack build cache)", days)
        [public] = gpg.public_keys()
        private, revocation = gpg.private_key(made.fingerprint), gpg.revocation(made.fingerprint)
    half = keys_folder(ws) / f"{made.fingerprint}.pub"
    kept = ws.var / "keys" / f"{made.fingerprint}.key"
    certificate = kept.with_suffix(".rev")
    try:
        _write_private(kept, private)
        _write_private(certificate, revocation)
        write_atomically(half, public.data)
    except OSError as error:
        raise SigningError(f"the key can't be written: {error}", hint="is the disk full, or the folder not yours?") from None
    return Report(
        lines=(
            f"keys: made {made.label}, {made.state(now())}",
            f"  public   {half}: commit it, so that what it signed can be checked",
            f"  private  {kept}: give it to the job that publishes, and to nobody else:",
            f"             gh secret set {SECRET} < {kept}",
            f"  revoke   {certificate}: says that the key is no longer to be trusted",
            "Keep a copy of both private files where nobody else reads it, then delete them here: GitHub gives no secret back.",
        )
    )


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that its owner alone reads, from its first moment; an older one is never written over."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _mirrors(ws: Workspace, out: str) -> list[DiskMirror]:
    """The mirrors of all images that hold entries: those that were built here, or pulled with --out."""
    roots = [Path(out).resolve() / image if out else ws.mirror(image).root for image in ws.images()]
    found = [mirror for mirror in map(DiskMirror, roots) if mirror.names(lambda _: None)]
    if not found:
        raise MirrorError(f"there are no entries in {', '.join(map(str, roots))}", hint="`inv pull` fetches what is published")
    return found


def _sign(ws: Workspace, out: str) -> Report:
    mirrors = _mirrors(ws, out)
    with open_signing(ws) as found:
        if found is None:
            raise SigningError(f"{SECRET} is not set", hint=f'export {SECRET}="$(cat var/keys/FINGERPRINT.key)"')
        done = []
        for mirror in mirrors:
            signed = signing.sign_entries(mirror, mirror.names(lambda _: None), found.gpg, found.key, ws.progress, found.gpg)
            mirror.write_keys(found.keys)
            done.append(signing_reports.signed_report(signed, str(mirror.root)))
    last = "`inv push --resigned` publishes (from var/mirror) what was signed anew, `inv index` the keys"
    return reports.join([*done, Report(lines=(last,))])


def _verify(ws: Workspace, out: str, *, required: bool) -> Report:
    told = []
    for mirror in _mirrors(ws, out):
        with policy_of(ws, required=required) as own, upstream_policy(ws, own, required=required) as abroad:
            if own is None:
                raise SigningError(f"there are no keys in {keys_folder(ws)}", hint="`inv keys create` makes one")
            # What was pulled for a system without internet has builds of upstreams in it, and nobody can tell them apart.
            policy = replace(abroad, strangers=False) if out and abroad else own
            told.append(signing_reports.findings_report(signing.mirror_findings(mirror, policy), policy, str(mirror.root)))
    return reports.join(told)


def _revoke(ws: Workspace, fingerprint: str) -> Report:
    found = [one for one in public_keys(ws) if fingerprint and one.key.fingerprint.endswith(fingerprint.upper())]
    if len(found) != 1:
        raise UsageError(f"--key {fingerprint!r} is the end of {len(found)} fingerprints", hint="`inv keys list` tells them")
    [public] = found
    half = keys_folder(ws) / f"{public.key.fingerprint}.pub"
    certificate = ws.var / "keys" / f"{public.key.fingerprint}.rev"
    if not half.is_file():
        raise SigningError(f"{half} doesn't exist: the key lies in a file of another name", hint=f"rename it to {half.name}")
    with Gpg(ws.env) as gpg:
        gpg.import_keys(public.data)
        try:
            gpg.import_keys(certificate.read_bytes())
        except OSError as error:
            hint = "put the .rev file there that `inv keys create` wrote; where it is lost, delete the .pub file instead"
            raise SigningError(f"{certificate} can't be read: {error.strerror}", hint=hint) from None
        [after] = gpg.public_keys()
    if not after.key.revoked:
        raise SigningError(f"{certificate} doesn't revoke {public.key.label}", hint="is it the certificate of another key?")
    write_atomically(half, after.data)
    lines = (
        f"keys: {after.key.label} is revoked, in {half}: commit it",
        "  next: a new key (`inv keys create`), then `inv pull`, `inv keys sign`, `inv push --resigned`, `inv index`, and the site",
        "  stock Spack takes what a revoked key signed, where it has that key: have users type",
        f"    spack gpg untrust {after.key.fingerprint}",
    )
    return Report(lines=lines)
