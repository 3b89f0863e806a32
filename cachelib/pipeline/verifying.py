"""Whether what is published is what it claims to be, and mending what is not."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, RegistryError, UnpublishedError, UsageError
from cachelib.model.github import PUBLIC_SERVER, repository_of
from cachelib.model.oci import Location
from cachelib.model.ports import Repository
from cachelib.model.upstream import holders
from cachelib.pipeline.layers import upstreams_of
from cachelib.pipeline.signing import policy_of
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import attesting, registry_reports, repairing, reports, signing, verifying
from cachelib.steps.provenance import Beside, BesideAlone
from cachelib.steps.reports import Report
from cachelib.tools.attestations import SigstoreVerifier
from cachelib.tools.github_attestations import HINTS, GitHubAttestations
from cachelib.tools.github_rest import PUBLIC_API, GitHubRest
from cachelib.tools.journal import FileJournal


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """How a cache is verified."""

    jobs: int = JOBS
    sample: int = 100
    seed: int = 0
    resume: bool = False
    repair: bool = False
    mirror: bool = False
    attestations: GitHubAttestations | BesideAlone | None = None
    notes: tuple[str, ...] = ()


def verify(
    ws: Workspace,
    to: str = "",
    *,
    jobs: int = JOBS,
    sample: int = 100,
    seed: int = 0,
    resume: bool = False,
    repair: bool = False,
    mirror: bool = False,
    attestations: bool = False,
) -> Report:
    """Check everything the registry holds against everything else."""
    check_jobs(jobs)
    if not 1 <= sample <= 100:
        raise UsageError(f"--sample is {sample}", hint="the percentage of the images to look at, from 1 to 100")
    seed = seed or int(time.time())
    if sample < 100:
        ws.progress.say(f"looking at {sample} % of the images; --seed {seed} looks at the same ones again")
    options = VerifyOptions(jobs=jobs, sample=sample, seed=seed, resume=resume, repair=repair, mirror=mirror)
    if attestations:
        options = _with_attestations(ws, options)
    absent: list[UnpublishedError] = []

    def look(image: str, location: Location) -> Report:
        try:
            return _verify(ws, image, location, options)
        except UnpublishedError as error:
            absent.append(error)
            return Report(lines=(f"  absent   {error.message}: its stacks have built nothing yet",))

    images = {image: ws.location(to).child(image) for image in ws.images()}
    found = [reports.attempt(partial(look, image, location)) for image, location in images.items()]
    # Where there is nothing at all, it is rather the place that is wrong.
    return reports.join(map(reports.error_report, absent) if len(absent) == len(images) else found)


def _verify(ws: Workspace, image: str, location: Location, options: VerifyOptions) -> Report:
    repository = ws.repository(location)
    # What was right in one place says nothing of another.
    journal = FileJournal(ws.var / "verify" / f"{image}-{Digest.of(str(location).encode()).hex[:12]}.txt")
    if not options.resume:
        journal.begin()

    elsewhere = holders(upstreams_of(ws, image)).keys()

    def look(journal: FileJournal) -> verifying.Verified:
        return verifying.verify(
            repository, jobs=options.jobs, progress=ws.progress, journal=journal,
            sample=verifying.Sample(percent=options.sample, seed=options.seed), mirror=ws.mirror(image) if options.mirror else None,
            elsewhere=elsewhere,
        )  # fmt: skip

    verified = look(journal)
    if options.repair and verified.findings:
        mended = repairing.repair(repository, verified.findings, labels=ws.oci_labels(), jobs=options.jobs, progress=ws.progress)
        # What is left: layers were read a moment ago, and the journal knows those that are right.
        verified = replace(look(journal), mended=mended, bytes=verified.bytes, blobs=verified.blobs, before=verified.before)
    if not verified.findings:
        journal.begin()  # it went to its end: the next run is a new one
    if options.mirror:
        with policy_of(ws) as policy:
            if policy is not None:
                wrong = tuple(signing.mirror_findings(ws.mirror(image), policy))
                verified = replace(verified, findings=verified.findings + wrong)
    report = registry_reports.verify_report(verified, repository.name)
    if options.attestations is None:
        return report
    return reports.join([report, reports.attempt(partial(_attest, ws, options, options.attestations, verified, repository))])


def _with_attestations(ws: Workspace, options: VerifyOptions) -> VerifyOptions:
    """Make ready for attestations before anything is read: what is missing is not to be found out an hour later."""
    name = repository_of(ws.source(), PUBLIC_SERVER)
    if not name:
        told = f"{ws.source()} is no repository of github.com" if ws.source() else "no repository is known to own this cache"
        raise UsageError(f"{told}, and only those of github.com attest", hint="`source: https://github.com/OWNER/REPO` in cache.yaml")
    verifier = SigstoreVerifier(f"{PUBLIC_SERVER}/{name}")
    try:
        found = _open_github(ws, name, verifier)
        found.check()
    except CacheError as error:
        if not ws.settings.provenance:
            raise
        # What a run attested lies beside the images: most can be told without GitHub.
        note = f"GitHub is not asked ({error.message}): an image that has nothing beside it counts as attested by nobody"
        return replace(options, attestations=BesideAlone(name, verifier.read), notes=(*verifier.notes, note))
    return replace(options, attestations=found, notes=verifier.notes)


def _open_github(ws: Workspace, name: str, verifier: SigstoreVerifier) -> GitHubAttestations:
    token = ws.env.get("GITHUB_TOKEN") or ws.env.get("GH_TOKEN") or ""
    try:
        rest = GitHubRest(ws.env.get("GITHUB_API_URL") or PUBLIC_API, token, name, hints=HINTS, say=ws.progress.say)
    except RegistryError as error:
        raise UsageError(error.message, hint="`export GH_TOKEN=$(gh auth token)`; in a job, `GITHUB_TOKEN: ${{ github.token }}`") from None
    return GitHubAttestations(rest, name, verifier)


def _attest(
    ws: Workspace, options: VerifyOptions, kept: GitHubAttestations | BesideAlone, verified: verifying.Verified, place: Repository
) -> Report:
    attested = attesting.attest(verified.manifests, Beside(place, kept), ws.progress)
    return attesting.attested_report(attested, place.name, kept.repository, options.notes)
