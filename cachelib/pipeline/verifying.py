"""Whether what is published is what it claims to be, and mending what is not."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

from cachelib.model.digest import Digest
from cachelib.model.errors import UsageError
from cachelib.model.oci import Location
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import registry_reports, repairing, reports, verifying
from cachelib.steps.reports import Report
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
) -> Report:
    """Check everything the registry holds against everything else."""
    check_jobs(jobs)
    if not 1 <= sample <= 100:
        raise UsageError(f"--sample is {sample}", hint="the percentage of the images to look at, from 1 to 100")
    seed = seed or int(time.time())
    if sample < 100:
        ws.progress.say(f"looking at {sample} % of the images; --seed {seed} looks at the same ones again")
    options = VerifyOptions(jobs=jobs, sample=sample, seed=seed, resume=resume, repair=repair, mirror=mirror)
    return reports.join(reports.attempt(partial(_verify, ws, image, ws.location(to).child(image), options)) for image in ws.images())


def _verify(ws: Workspace, image: str, location: Location, options: VerifyOptions) -> Report:
    repository = ws.repository(location)
    # What was right in one place says nothing of another.
    journal = FileJournal(ws.var / "verify" / f"{image}-{Digest.of(str(location).encode()).hex[:12]}.txt")
    if not options.resume:
        journal.begin()

    def look(journal: FileJournal) -> verifying.Verified:
        return verifying.verify(
            repository, jobs=options.jobs, progress=ws.progress, journal=journal,
            sample=verifying.Sample(percent=options.sample, seed=options.seed), mirror=ws.mirror(image) if options.mirror else None,
        )  # fmt: skip

    verified = look(journal)
    if options.repair and verified.findings:
        mended = repairing.repair(repository, verified.findings, labels=ws.oci_labels(), jobs=options.jobs, progress=ws.progress)
        # What is left: layers were read a moment ago, and the journal knows those that are right.
        verified = replace(look(journal), mended=mended, bytes=verified.bytes, blobs=verified.blobs, before=verified.before)
    if not verified.findings:
        journal.begin()  # it went to its end: the next run is a new one
    return registry_reports.verify_report(verified, repository.name)
