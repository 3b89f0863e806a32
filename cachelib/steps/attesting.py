"""Holds images against what their makers attested of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cachelib.model.attestation import Statement
from cachelib.model.digest import Digest
from cachelib.model.errors import VerifyError
from cachelib.model.finding import Finding
from cachelib.model.ports import Attestations, Progress
from cachelib.steps.reports import Report, step_data

_REMEDY = "don't install it before you know who pushed it; `inv push --force` from a mirror that you trust replaces it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What became of images: attested ones by tag with their signers, those that nobody attested, and what is wrong."""

    signers: Mapping[str, str]
    without: tuple[str, ...]
    findings: tuple[Finding, ...]


def attest(manifests: Mapping[str, Digest], attestations: Attestations, progress: Progress) -> Attested:
    """Look for an attestation of each manifest (by tag) that holds; one that is bad beside a good one does no harm.

    An attestation that holds speaks for all of its subjects: a whole push is asked for once.
    """
    stated: dict[Digest, Statement] = {}
    read: dict[bytes, Statement | VerifyError] = {}
    signers: dict[str, str] = {}
    without: list[str] = []
    findings: list[Finding] = []
    progress.start("look for attestations", len(manifests))
    for tag, digest in manifests.items():
        bundles = () if digest in stated else attestations.bundles(digest)
        reasons = []
        for bundle in bundles:
            if bundle not in read:
                read[bundle] = _read(attestations, bundle)
            match read[bundle]:
                case VerifyError() as error:
                    reasons.append(error.message)
                case Statement() as statement:
                    stated.update({subject: statement for subject in statement.subjects if subject not in stated})
                    if digest not in statement.subjects:
                        reasons.append(f"its attestation is not of this image: it names {len(statement.subjects)} others")
        if digest in stated:
            signers[tag] = stated[digest].signer
        elif bundles:
            findings.append(Finding(where=tag, problem="; ".join(dict.fromkeys(reasons)), remedy=_REMEDY))
        else:
            without.append(tag)
        progress.advance(tag)
    progress.finish()
    return Attested(signers=signers, without=tuple(without), findings=tuple(findings))


def _read(attestations: Attestations, bundle: bytes) -> Statement | VerifyError:
    try:
        return attestations.read(bundle)
    except VerifyError as error:
        return error


def attested_report(attested: Attested, where: str, repository: str, notes: tuple[str, ...] = ()) -> Report:
    """Who attested what. That nobody attested an image is told and is no error: builds from laptops have no attestation."""
    lines = []
    for finding in attested.findings:
        lines += [f"  WRONG    {finding.where}: {finding.problem}", f"             remedy: {finding.remedy}"]
    lines += [f"  NOTE     {note}" for note in notes]
    if attested.without:
        such = f"{attested.without[0]}{' ...' if len(attested.without) > 1 else ''}"
        lines.append(f"  WARNING  {len(attested.without)} images that no run of {repository} attested, such as {such}")
    by_signer: dict[str, int] = {}
    for signer in attested.signers.values():
        by_signer[signer] = by_signer.get(signer, 0) + 1
    lines += [f"  signed   {count} images by {signer}" for signer, count in sorted(by_signer.items())]
    lines.append(
        f"attestations: {len(attested.signers)} images attested by {repository}, {len(attested.without)} by nobody, "
        f"{len(attested.findings)} findings, in {where}"
    )
    items = [{"label": tag, "outcome": "attested", "signer": signer} for tag, signer in attested.signers.items()]
    items += [{"label": tag, "outcome": "unattested"} for tag in attested.without]
    items += [{"label": f.where, "outcome": "wrong", "problem": f.problem, "remedy": f.remedy} for f in attested.findings]
    data = step_data("attestations", where, items, repository=repository, notes=list(notes))
    return Report(lines=tuple(lines), exit_code=VerifyError.exit_code if attested.findings else 0, data=(data,))
