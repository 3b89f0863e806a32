"""Puts what a run attested beside the images that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cachelib.model.catalog import CatalogEntry
from cachelib.model.errors import CacheError, FormatError, RegistryError, UsageError
from cachelib.model.ports import Repository
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import artifacts, referring, reports
from cachelib.steps.artifacts import described
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.provenance import LIMIT, Bundle, attach, parse_bundles
from cachelib.steps.reports import Report, some, step_data
from cachelib.steps.tags import whole_tags
from cachelib.tools.files import read_limited


def provenance(ws: Workspace, files: Sequence[str], to: str = "", *, jobs: int = JOBS) -> Report:
    """Attach the Sigstore bundles of some files to the published images that they are about."""
    check_jobs(jobs)
    named = [Path(file) for file in files if file]
    if not named:
        raise UsageError("no bundle is named", hint="--bundle FILE, such as the output bundle-path of actions/attest")
    bundles = [bundle for file in named for bundle in _read(file)]
    places = [ws.repository(ws.location(to).child(image)) for image in ws.images()]
    return reports.join(reports.attempt(partial(_provenance, ws, place, bundles, jobs)) for place in places)


def _read(file: Path) -> tuple[Bundle, ...]:
    try:
        return parse_bundles(read_limited(file, LIMIT, "a Sigstore bundle"))
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}", hint="name a file with a Sigstore bundle") from None
    except FormatError as error:
        raise UsageError(f"{file}: {error.message}", hint="actions/attest writes one, and `gh attestation download` fetches one") from None


def _attach(repository: Repository, bundle: Bundle, tags: frozenset[str], entry: CatalogEntry) -> bool:
    return attach(repository, entry, bundle, tags)


def _provenance(ws: Workspace, repository: Repository, bundles: Sequence[Bundle], jobs: int) -> Report:
    entries, tags = artifacts.load_catalog(repository, jobs=jobs).entries.values(), whole_tags(repository)
    work = [(entry, bundle) for bundle in bundles for entry in entries if entry.manifest.digest in bundle.subjects]
    lines, items = [], []
    ws.progress.start(f"attach attestations in {repository.name}", len(work))
    # One after the other where two are of one image: the second one's list begins with the first.
    for bundle in bundles:
        mine = [entry for entry, of in work if of is bundle]
        if mine:
            # Once, before many at a time find that it is not there yet.
            referring.prepare(repository, described(bundle.kind, bundle.data), bundle.data)
        with workers(jobs) as pool:
            for entry, future in in_order(pool, partial(_attach, repository, bundle, tags), mine):
                label, reason = entry.tag.removesuffix(".spack"), ""
                try:
                    outcome = "attached" if future.result() else "present"
                except CacheError as error:
                    outcome, reason = "failed", error.message
                    lines.append(f"  FAILED   {label}: {reason}")
                items.append({"label": label, "hash": entry.hash, "outcome": outcome, "reason": reason})
                ws.progress.advance(f"{outcome} {label}")
        repository_lost = repository.flush()
        lines += [f"  FAILED   {tag}: a part of it was pruned meanwhile; run it again" for tag in sorted(repository_lost)]
        tags = whole_tags(repository) if len(bundles) > 1 else tags
    ws.progress.finish()
    data = step_data("provenance", repository.name, items)
    counts = data["counts"]
    told = f"{counts.get('attached', 0)} attached, {counts.get('present', 0)} there already, {counts.get('failed', 0)} failed"
    last = f"provenance: {told}, in {repository.name}"
    return Report(lines=(*some(lines), last), exit_code=RegistryError.exit_code if lines else 0, data=(data,))
