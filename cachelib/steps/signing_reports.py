"""What the tasks print of keys and signatures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from cachelib.model.errors import SigningError
from cachelib.model.finding import Finding
from cachelib.model.signing import PublicKey, Standing
from cachelib.steps.reports import Report, some, step_data
from cachelib.steps.signing import Policy, Signed


def policy_report(policy: Policy, hashes: Collection[str], where: str) -> Report:
    """Who signed what was pulled, and what is not signed."""
    found = {h: signature for h, signature in policy.found.items() if h in hashes}
    keys = {one.key.fingerprint: one.key.label for one in policy.keys}
    counts = Counter(signature.fingerprint for signature in found.values() if signature.standing is Standing.GOOD)
    lines = [f"  signed   {count} by {keys.get(fingerprint, fingerprint)}" for fingerprint, count in sorted(counts.items())]
    told = Counter(signature.standing for signature in found.values())
    refused = sum(map(policy.refuses, found.values()))
    unsigned = told[Standing.UNSIGNED]
    foreign = f"{told[Standing.FOREIGN]} by keys that aren't known here, " if policy.strangers and told[Standing.FOREIGN] else ""
    last = f"signatures: {told[Standing.GOOD]} good, {unsigned} unsigned, {foreign}{refused} refused, in {where}"
    items = [{"label": h, "outcome": str(s.standing), "fingerprint": s.fingerprint} for h, s in sorted(found.items())]
    return Report(lines=(*lines, last), data=(step_data("signatures", where, items),))


def signed_report(signed: Signed, where: str) -> Report:
    """What was signed now."""
    lines = some([f"  signed   {label}" for label in signed.signed])
    lines += [f"  FAILED   {label}: {reason}" for label, reason in signed.failed.items()]
    counts = f"{len(signed.signed)} signed, {len(signed.kept)} signed before, {len(signed.failed)} failed"
    items = [{"label": label, "outcome": "signed"} for label in signed.signed]
    items += [{"label": label, "outcome": "kept"} for label in signed.kept]
    items += [{"label": label, "outcome": "failed", "reason": reason} for label, reason in signed.failed.items()]
    return Report(
        lines=(*lines, f"sign: {counts}, with {signed.key.label}, in {where}"),
        exit_code=SigningError.exit_code if signed.failed else 0,
        data=(step_data("sign", where, items, fingerprint=signed.key.fingerprint),),
    )


def findings_report(findings: Iterable[Finding], policy: Policy, where: str) -> Report:
    """What is wrong with the signatures of a mirror."""
    findings = tuple(findings)
    lines = []
    for finding in findings:
        lines += [f"  WRONG    {finding.where}: {finding.problem}", f"             remedy: {finding.remedy}"]
    good = sum(signature.standing is Standing.GOOD for signature in policy.found.values())
    unsigned = sum(signature.standing is Standing.UNSIGNED for signature in policy.found.values())
    last = f"signatures: {good} good, {unsigned} unsigned, {len(findings)} findings, in {where}"
    items = [{"label": f.where, "outcome": "wrong", "problem": f.problem, "remedy": f.remedy} for f in findings]
    code = SigningError.exit_code if findings else 0
    return Report(lines=(*lines, last), exit_code=code, data=(step_data("signatures", where, items),))


def keys_report(keys: Sequence[PublicKey], moment: str, where: str) -> Report:
    """The public keys there are, and how each is."""
    lines = [f"  {one.key.fingerprint}  {one.key.state(moment)}: {one.key.user_id}, made {one.key.created[:10]}" for one in keys]
    items = [{"label": one.key.fingerprint, "outcome": one.key.state(moment).partition(" ")[0], "userId": one.key.user_id} for one in keys]
    return Report(lines=(*lines, f"keys: {len(keys)} public keys in {where}"), data=(step_data("keys", where, items),))
