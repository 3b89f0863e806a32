"""Tags of an owner's own, as `inv tag` and cache.yaml name them."""

from __future__ import annotations

from functools import partial

from cachelib.model.container import check_tag_name
from cachelib.model.errors import UsageError
from cachelib.model.request import parse_request
from cachelib.pipeline.containers import Shelves, open_shelves
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import containing, reports, tagging
from cachelib.steps.reports import Report


def tag(ws: Workspace, name: str = "", spec: str = "", to: str = "", *, dry_run: bool = False, jobs: int = JOBS) -> Report:
    """Let a tag name the published build that fits a request, or each tag of cache.yaml what it says there (or one of them)."""
    check_jobs(jobs)
    known = ws.settings.tags
    if spec:
        if not name:
            raise UsageError(f"no tag is told for {spec!r}", hint="say it with --name, as in `inv tag --name hdf5-latest --spec hdf5`")
        asked = {check_tag_name(name): spec}
    elif name:
        if name not in known:
            raise UsageError(
                f"there is no tag {name!r}", hint=f"say what it names with --spec; cache.yaml has: {', '.join(known) or 'none'}"
            )
        asked = {name: known[name]}
    elif known:
        asked = dict(known)
    else:
        raise UsageError("no tag is asked for", hint="`inv tag --name NAME --spec SPEC`, or `tags:` in cache.yaml")
    shelves = open_shelves(ws, to, jobs)
    return reports.join(reports.attempt(partial(_tag, shelves, key, text, dry_run)) for key, text in asked.items())


def _tag(shelves: Shelves, name: str, text: str, dry_run: bool) -> Report:
    chosen = [root for _, (root,) in containing.choose_roots(shelves.catalogs, [parse_request(text)], shelves.wanted)]
    image = chosen[0].image
    # A tag is of one image: what another one has for another architecture it can't name.
    roots = [root for root in chosen if root.image == image]
    made = tagging.put_tag(name, roots, shelves.repositories[image], shelves.catalogs[image], dry_run=dry_run)
    return tagging.tag_report(made, dry_run=dry_run)
