"""Bills of materials: shown for one build, or attached to all that is published."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cachelib.model.catalog import Catalog
from cachelib.model.errors import CacheError, RegistryError, UsageError
from cachelib.model.ports import Repository
from cachelib.model.request import parse_request
from cachelib.pipeline.reproducing import repositories_of
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import artifacts, referring, reports
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.reports import Report, some, step_data
from cachelib.steps.sbom import SPDX, spdx_document
from cachelib.steps.tags import whole_tags
from cachelib.tools.files import write_atomically


def sbom(
    ws: Workspace,
    wanted: str = "",
    to: str = "",
    image: str = "",
    out: str = "",
    *,
    attach: bool = False,
    look: bool = True,
    jobs: int = JOBS,
) -> Report:
    """Print the bill of materials of a build (or write it to a file); with `attach`, give every image one that has none.

    Without `look` nothing is read of what is attached: an image that has anything counts as having one, and costs no request.
    """
    check_jobs(jobs)
    if attach == bool(wanted):
        raise UsageError("which bill of materials is meant?", hint="--spec names one build, by hash or package; --attach is for all images")
    repositories = repositories_of(ws, to, image)
    if attach:
        return reports.join(reports.attempt(partial(attach_all, ws, repository, jobs, look=look)) for repository in repositories.values())
    catalog, h = _chosen({name: artifacts.load_catalog(one, jobs=jobs) for name, one in repositories.items()}, wanted)
    data = spdx_document(catalog.spec(h), catalog.entries[h])
    if not out:
        return Report(lines=tuple(data.decode().splitlines()))
    write_atomically(Path(out).resolve(), data)
    return Report(lines=(f"sbom: {out} is the SPDX document of {catalog.spec(h).label}",))


def _chosen(catalogs: Mapping[str, Catalog], wanted: str) -> tuple[Catalog, str]:
    """The one build that is meant; raise UsageError where it is none, or several."""
    request = parse_request(wanted)
    found = []
    for catalog in catalogs.values():
        near = (
            (h for h in catalog.entries if h.startswith(request.hash)) if request.hash else catalog.named(request.name.rpartition(".")[2])
        )
        found += [(catalog, h) for h in near if request.matches(catalog.spec(h))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"nothing that is published matches {wanted!r}", hint="a package, @version, /hash, +variant; the site lists what there is"
        )
    names = "\n".join(some([f"  {catalog.spec(h).label}" for catalog, h in found]))
    raise UsageError(f"{wanted!r} names {len(found)} builds:\n{names}", hint="name one by its /hash")


def attach_all(ws: Workspace, repository: Repository, jobs: int, *, look: bool = True) -> Report:
    """Attach a bill of materials to each image of a repository that has none; one that can't have one costs no other."""
    catalog, tags = artifacts.load_catalog(repository, jobs=jobs), whole_tags(repository)
    lines, items = [], []
    if catalog.entries:
        referring.prepare(repository)
    ws.progress.start(f"attach bills of materials in {repository.name}", len(catalog.entries))
    with workers(jobs) as pool:
        for h, future in in_order(pool, partial(_attach, repository, catalog, tags, look), sorted(catalog.entries)):
            label = catalog.entries[h].tag.removesuffix(".spack")
            try:
                outcome, reason = ("attached" if future.result() else "present"), ""
            except CacheError as error:
                outcome, reason = "failed", error.message
                lines.append(f"  FAILED   {label}: {reason}")
            items.append({"label": label, "hash": h, "outcome": outcome, "reason": reason})
            ws.progress.advance(f"{outcome} {label}")
    ws.progress.finish()
    lost = repository.flush()
    lines += [f"  FAILED   {tag}: a part of it was pruned meanwhile; run it again" for tag in sorted(lost)]
    data = step_data("sbom", repository.name, items)
    counts = data["counts"]
    last = f"sbom: {counts['attached']} attached, {counts['present']} there already, {counts['failed']} failed, in {repository.name}"
    return Report(lines=(*some(lines), last), exit_code=RegistryError.exit_code if lines else 0, data=(data,))


def _attach(repository: Repository, catalog: Catalog, tags: frozenset[str], look: bool, h: str) -> bool:
    entry = catalog.entries[h]
    subject = entry.manifest
    something = referring.referrers_tag(subject.digest) in tags
    if something and not look:
        return False
    there = referring.listed(repository, subject.digest) if something else []
    if any(one.get("artifactType") == SPDX for one in there):
        return False
    title = {"org.opencontainers.image.title": f"{entry.tag.removesuffix('.spack')}.spdx.json"}
    referring.attach(repository, subject, SPDX, spdx_document(catalog.spec(h), entry), title, there)
    return True
