"""The steps of the cache as Invoke tasks: flags, one function of the pipeline, its report."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from cachelib import pipeline
from cachelib.model.errors import CacheError
from cachelib.steps.reports import Report, error_text

CONFIG = "the settings file (default: $CACHE_CONFIG, or cache.yaml)"
STACK = "stack of cache.yaml (default: its first)"
SPACK = "root of a Spack to use instead of the pinned one (default: $SPACK_ROOT)"
JSON = "write what became of each item to this file, as JSON"
JOBS = "requests at once"
PLAN = "folder of the plan (default: var/plan)"
PARTS = "folder in which workers find what others built (default: var/parts)"
GITHUB = "plan and parts are artifacts of the GitHub run that this is a job of"
DIGEST = "the sha256 that the plan must have, as the job that made it told"
HASH = "the beginning of a DAG hash (7 characters and more), or the name of a package of which one build fails"
IMAGE = "look into this image alone"
TO = "oci://HOST/NAME or oci-layout:DIR (default: $CACHE_REGISTRY, or cache.yaml's registry); image names are appended"
REPO = "package repository that comes before the stack's own: a folder, or URL[#REF][:FOLDER] of a git repository; may be repeated"
INPUTS = "the requests are the inputs of the workflow ($WORKFLOW_INPUTS)"


def trouble(json: str, task: str, error: CacheError) -> str:
    """Write the report of an error; what goes wrong with that is one more line."""
    try:
        if json:
            pipeline.write_report(json, task, None, error)
    except OSError as problem:
        return f"\nerror: the report can't be written: {problem}"
    return ""


def show(text: str) -> None:
    """Print; whoever reads it may have seen enough before its end (`inv log ... | head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain then (library/signal.html, Note on SIGPIPE).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reporting(function: Callable[..., Report | None]) -> Callable[..., None]:
    """Print the report of a task, and exit with its code; an error becomes its message and its hint."""

    @functools.wraps(function)
    def wrapper(*args: Any, json: str = "", **kwargs: Any) -> None:
        pipeline.prepare_process()
        try:
            report = function(*args, **kwargs)
            if json:
                pipeline.write_report(json, function.__name__, report)
        except CacheError as error:
            raise Exit(error_text(error) + trouble(json, function.__name__, error), code=error.exit_code) from None
        except OSError as error:
            told = CacheError(str(error), hint="is the disk full, or a folder not yours?")
            raise Exit(error_text(told), code=told.exit_code) from None
        except KeyboardInterrupt:
            raise Exit("interrupted; what was finished is kept, run the same command again to go on", code=130) from None
        if report is not None:
            show(report.text)
            if report.exit_code:
                raise Exit(code=report.exit_code)

    return wrapper


@task(help={"config": CONFIG})
@reporting
def config(_: Context, config: str = "") -> Report:
    """Check cache.yaml, and say what it means on this machine."""
    return pipeline.config(pipeline.open_workspace(config))


@task(help={"config": CONFIG, "stack": STACK, "spack": SPACK})
@reporting
def install(_: Context, config: str = "", stack: str = "", spack: str = "") -> Report:
    """Install the pinned Spack and package repository into var/, beside whatever Spack you have."""
    return pipeline.install(pipeline.open_workspace(config), stack, spack)


@task(
    iterable=["cache", "repo"],
    help={
        "cache": "mirror to install from, such as oci://ghcr.io/OWNER/REPO/v1.1; may be repeated",
        "spack_version": "tag, branch or commit of Spack (default: the pinned one)",
        "packages_version": "tag, branch or commit of Spack's packages (default: the pinned one)",
        "repo": "package repository that comes before Spack's own: a folder, or URL[#REF][:FOLDER] of a git repository; may be repeated",
        "path": "folder that takes Spack and all that it makes (default: var/setup of this project; on GitHub $RUNNER_TEMP/spack)",
        "config": "the settings file whose first stack pins Spack (default: that of this project)",
        "inputs": "all of these but the settings file are the inputs of the workflow ($WORKFLOW_INPUTS)",
    },
)
@reporting
def setup(
    _: Context,
    cache: list[str],
    repo: list[str],
    spack_version: str = "",
    packages_version: str = "",
    path: str = "",
    config: str = "",
    inputs: bool = False,
) -> Report:
    """Set a stock Spack up that installs from a cache, apart from the Spack that you have; on GitHub, for the steps that follow."""
    return pipeline.setup(cache, spack_version, packages_version, path, config, inputs=inputs, repos=repo)


@task(
    iterable=["spec", "repo"],
    help={
        "spec": "what to build, as after `spack install`; may be repeated (default: the stack's specs)",
        "config": CONFIG,
        "stack": "stack of cache.yaml (default: all that suit this machine)",
        "spack": SPACK,
        "to": TO,
        "workers": "runners that may build at once (default: as the stack says)",
        "out": "folder that takes plan.json and the concretized environments (default: var/plan)",
        "repo": REPO,
        "rebuild": "build the requests again, though they are in the cache",
        "retry": "try what failed lately again, too",
        "inputs": INPUTS,
        "runner": "plan the stacks that this kind of runner builds, for it",
        "number": "which of the run's plans this is (default: the only one)",
        "random": "pick so many packages by chance, of those that can be built, and first of those that are not in the cache",
        "seed": "which packages are picked: the same seed picks the same (default: today's date in UTC)",
        "simulate": "print how long it takes on other numbers of runners (or on --workers), and laid out in other ways; write nothing",
        "json": JSON,
    },
)
@reporting
def plan(
    _: Context,
    spec: list[str],
    repo: list[str],
    config: str = "",
    stack: str = "",
    spack: str = "",
    to: str = "",
    workers: int = 0,
    out: str = "",
    rebuild: bool = False,
    retry: bool = False,
    simulate: bool = False,
    inputs: bool = False,
    runner: str = "",
    number: int = 0,
    random: int = 0,
    seed: str = "",
    json: str = "",
) -> Report:
    """Say what is to be built and why, and lay it out for workers: who builds what, in which order."""
    ws = pipeline.open_workspace(config)
    return pipeline.plan(
        ws, spec, stack, spack, to, workers, out,
        rebuild=rebuild, retry=retry, simulate=simulate, inputs=inputs, runner=runner, number=number, random=random, seed=seed, repos=repo,
    )  # fmt: skip


@task(help={"config": CONFIG, "inputs": "the stack is that of the workflow's inputs ($WORKFLOW_INPUTS)"})
@reporting
def runners(_: Context, config: str = "", inputs: bool = False) -> Report:
    """Say which kinds of runners the stacks need, as the matrix of the job that plans."""
    return pipeline.plan_runners(pipeline.open_workspace(config), inputs=inputs)


@task(help={"config": CONFIG})
@reporting
def schedule(_: Context, config: str = "") -> Report:
    """Make one plan of those that a run's runners made ($PLAN_OUTPUTS), and set the matrix of the job that builds."""
    return pipeline.schedule(pipeline.open_workspace(config))


@task(
    iterable=["spec", "repo"],
    help={
        "spec": "what to build, as after `spack install`; may be repeated (default: the stack's specs)",
        "config": CONFIG,
        "stack": STACK,
        "spack": SPACK,
        "jobs": "processes per package (default: the cores, shared out)",
        "packages": "packages that are built at once (default: half the cores, at most 4)",
        "repo": REPO,
        "dry_run": "concretize and print what would be built, build nothing",
        "inputs": INPUTS,
    },
)
@reporting
def build(
    _: Context,
    spec: list[str],
    repo: list[str],
    config: str = "",
    stack: str = "",
    spack: str = "",
    jobs: int = 0,
    packages: int = 0,
    dry_run: bool = False,
    inputs: bool = False,
) -> Report:
    """Build specs with real Spack into the local mirror; a failing one never costs the others."""
    return pipeline.build(pipeline.open_workspace(config), spec, stack, spack, jobs, packages, dry_run=dry_run, inputs=inputs, repos=repo)


@task(
    help={
        "worker": "which worker of the plan this is, counted from 1",
        "slot": "build this slot alone, counted from 1 (default: all, one after the other)",
        "config": CONFIG,
        "plan": PLAN,
        "parts": PARTS,
        "plan_key": "which of the plans, by its key or its stack (default: the only one that builds something)",
        "spack": SPACK,
        "wait": "minutes to wait, in all, for what other workers build",
        "minutes": "what is not done after so many minutes is given up, and what is done handed on (0: no limit; on GitHub the job's)",
        "jobs": "processes per package (default: the cores, shared out)",
        "packages": "packages that are built at once (default: half the cores, at most 4)",
        "github": GITHUB,
        "digest": DIGEST,
        "json": JSON,
    }
)
@reporting
def work(
    _: Context,
    worker: int = 0,
    slot: int = 0,
    config: str = "",
    plan: str = "",
    parts: str = "",
    plan_key: str = "",
    spack: str = "",
    wait: int = 300,
    minutes: float = 0.0,
    jobs: int = 0,
    packages: int = 0,
    github: bool = False,
    digest: str = "",
    json: str = "",
) -> Report:
    """Be one worker of a plan: build its slots in order, and hand each on as a part."""
    ws = pipeline.open_workspace(config)
    return pipeline.work(
        ws, worker, plan, parts, plan_key, spack, wait, jobs, packages, slot=slot, on_github=github, digest=digest, minutes=minutes
    )


@task(help={"config": CONFIG, "plan": PLAN, "parts": PARTS, "github": GITHUB, "digest": DIGEST, "json": JSON})
@reporting
def gather(_: Context, config: str = "", plan: str = "", parts: str = "", github: bool = False, digest: str = "", json: str = "") -> Report:
    """Take what the workers of a plan built into the local mirror, checking all of it; then `inv push` publishes it."""
    return pipeline.gather(pipeline.open_workspace(config), plan, parts, on_github=github, digest=digest)


@task(help={"config": CONFIG, "to": TO, "plan": PLAN, "parts": PARTS, "github": GITHUB, "digest": DIGEST, "jobs": JOBS, "json": JSON})
@reporting
def publish(
    _: Context,
    config: str = "",
    to: str = "",
    plan: str = "",
    parts: str = "",
    github: bool = False,
    digest: str = "",
    jobs: int = 16,
    json: str = "",
) -> Report:
    """Gather, push and index what the workers of a plan built, and remember what failed."""
    return pipeline.publish(pipeline.open_workspace(config), to, plan, parts, on_github=github, digest=digest, jobs=jobs)


@task(help={"config": CONFIG})
@reporting
def again(_: Context, config: str = "") -> Report:
    """Start this run's workflow on GitHub once more, to go on with what is left."""
    return pipeline.again(pipeline.open_workspace(config))


@task(help={"config": CONFIG})
@reporting
def keep_alive(_: Context, config: str = "") -> Report:
    """Keep GitHub from switching the repository's schedules off, as it does after 60 days without a commit."""
    return pipeline.keep_alive(pipeline.open_workspace(config))


@task(help={"config": CONFIG})
@reporting
def request(_: Context, config: str = "") -> Report:
    """Read which package a workflow's form, or the issue that it runs for, asks for."""
    return pipeline.request(pipeline.open_workspace(config))


@task(help={"config": CONFIG, "digest": DIGEST})
@reporting
def answer(_: Context, config: str = "", digest: str = "") -> Report:
    """Say on the issue that asked for a package what became of it."""
    return pipeline.answer(pipeline.open_workspace(config), digest)


@task(
    help={
        "config": CONFIG,
        "to": TO,
        "force": "send again what is published already",
        "resigned": "send again what `inv keys sign` signed anew, too",
        "dry_run": "print what would be sent, send nothing",
        "with_upstream": "send what is in the mirror and upstreams have too",
        "jobs": JOBS,
        "json": JSON,
    }
)
@reporting
def push(
    _: Context,
    config: str = "",
    to: str = "",
    force: bool = False,
    resigned: bool = False,
    dry_run: bool = False,
    with_upstream: bool = False,
    jobs: int = 16,
    json: str = "",
) -> Report:
    """Push the local mirror into the registry, as images that stock Spack installs and podman runs."""
    ws = pipeline.open_workspace(config)
    return pipeline.push(ws, to, force=force, resigned=resigned, dry_run=dry_run, with_upstream=with_upstream, jobs=jobs)


@task(help={"config": CONFIG, "to": TO, "full": "read every tag again", "jobs": JOBS, "json": JSON})
@reporting
def index(_: Context, config: str = "", to: str = "", full: bool = False, jobs: int = 16, json: str = "") -> Report:
    """Bring the catalog and Spack's index up to what the registry holds."""
    return pipeline.index(pipeline.open_workspace(config), to, full=full, jobs=jobs)


@task(
    iterable=["spec"],
    help={
        "spec": "what to pull: a name, @version, /hash, +variant, key=value; may be repeated (default: everything)",
        "config": CONFIG,
        "to": TO,
        "out": "folder that takes a mirror per image (default: var/mirror)",
        "image": "pull this image alone",
        "closure": "with what the specs need at run time (--no-closure: without)",
        "upstreams": "with --out, what they need of the stack's upstreams comes too (--no-upstreams: it doesn't)",
        "dry_run": "print what would be fetched, fetch nothing",
        "signed": "refuse what is not signed by a key of the cache",
        "jobs": JOBS,
        "json": JSON,
    },
)
@reporting
def pull(
    _: Context,
    spec: list[str],
    config: str = "",
    to: str = "",
    out: str = "",
    image: str = "",
    closure: bool = True,
    upstreams: bool = True,
    dry_run: bool = False,
    signed: bool = False,
    jobs: int = 16,
    json: str = "",
) -> Report:
    """Pull the registry back into a mirror, byte for byte: for clusters without internet."""
    ws = pipeline.open_workspace(config)
    return pipeline.pull(ws, spec, to, out, image, closure=closure, upstreams=upstreams, dry_run=dry_run, signed=signed, jobs=jobs)


@task(
    positional=["action"],
    help={
        "action": "create (a key), list, sign (the entries of the mirror), verify (their signatures) or revoke (a key)",
        "config": CONFIG,
        "name": "create: whose key it is, as 'Name <me@example.org>' (default: the vendor of cache.yaml, or the site's title)",
        "days": "create: it signs for so many days (0: for ever)",
        "key": "revoke: the end of its fingerprint",
        "out": "sign, verify: folder that has a mirror per image, as `inv pull --out` writes it (default: var/mirror)",
        "signed": "verify: an entry that is not signed is a finding, too",
        "json": JSON,
    },
)
@reporting
def keys(
    _: Context,
    action: str,
    config: str = "",
    name: str = "",
    days: int = 730,
    key: str = "",
    out: str = "",
    signed: bool = False,
    json: str = "",
) -> Report:
    """Make, list and revoke the keys that sign the cache; sign the local mirror anew, or check its signatures."""
    return pipeline.keys(pipeline.open_workspace(config), action, name, key, out, days=days, required=signed)


@task(
    help={
        "hash": HASH,
        "config": CONFIG,
        "to": TO,
        "image": IMAGE,
        "out": "folder that takes the spec, the log and a configuration of Spack (default: var/reproduce/HASH)",
        "json": JSON,
    }
)
@reporting
def reproduce(_: Context, hash: str, config: str = "", to: str = "", image: str = "", out: str = "", json: str = "") -> Report:  # noqa: A002
    """Tell how to do a build that failed (or one that is published) again on one's own machine, with its spec and its log."""
    return pipeline.reproduce(pipeline.open_workspace(config), hash, to, image, out)


@task(help={"hash": HASH, "config": CONFIG, "to": TO, "image": IMAGE})
@reporting
def log(_: Context, hash: str, config: str = "", to: str = "", image: str = "") -> Report:  # noqa: A002
    """Print the log of a build: of one that failed, or of one that is published, out of its tarball."""
    return pipeline.log(pipeline.open_workspace(config), hash, to, image)


@task(
    iterable=["spec"],
    help={
        "spec": "concretize this as the stack does, and tell of it; may be repeated (default: what the stacks want)",
        "config": CONFIG,
        "stack": "stack of cache.yaml (default: all; of a lock file or a spec its first)",
        "lock": "tell of this spack.lock, or of that of the environment in this folder; takes no Spack",
        "spack": SPACK,
        "to": TO,
        "json": JSON,
    },
)
@reporting
def weather(
    _: Context, spec: list[str], config: str = "", stack: str = "", lock: str = "", spack: str = "", to: str = "", json: str = ""
) -> Report:
    """Tell how much of what is wanted is in the cache: what there is to fetch, what it saves, what is missing and why."""
    return pipeline.weather(pipeline.open_workspace(config), spec, stack, lock, spack, to)


@task(
    help={
        "what": "a spec, made concrete by your own Spack; or a file of `spack spec --json`, a spack.lock, the folder of an environment",
        "config": CONFIG,
        "to": TO,
        "image": IMAGE,
        "spack": "root of the Spack that makes a spec concrete (default: $SPACK_ROOT, or the spack on your PATH)",
        "json": JSON,
    }
)
@reporting
def why(_: Context, what: str, config: str = "", to: str = "", image: str = "", spack: str = "", json: str = "") -> Report:
    """Tell why Spack would not take a spec from the cache: the nearest build, what differs, and what to type instead."""
    return pipeline.why(pipeline.open_workspace(config), what, to, image, spack)


@task(
    help={
        "a": "a build: the beginning of its DAG hash, or its package; a spec file; or a whole cache",
        "b": "the other",
        "config": CONFIG,
        "to": TO,
    }
)
@reporting
def diff(_: Context, a: str, b: str, config: str = "", to: str = "") -> Report:
    """Compare two builds, or two caches (oci://HOST/NAME or oci-layout:DIR)."""
    return pipeline.diff(pipeline.open_workspace(config), a, b, to)


@task(
    help={
        "spec": "a published build: a package, @version, /hash, +variant",
        "config": CONFIG,
        "to": TO,
        "image": IMAGE,
        "out": "write it to this file (default: print it)",
        "attach": "attach one to every image that has none, as a referrer",
        "jobs": JOBS,
        "json": JSON,
    },
)
@reporting
def sbom(
    _: Context,
    spec: str = "",
    config: str = "",
    to: str = "",
    image: str = "",
    out: str = "",
    attach: bool = False,
    jobs: int = 16,
    json: str = "",
) -> Report:
    """Tell what a build is made of, as an SPDX document; or attach such a document to every image."""
    return pipeline.sbom(pipeline.open_workspace(config), spec, to, image, out, attach=attach, jobs=jobs)


@task(help={"config": CONFIG, "to": TO})
@reporting
def stats(_: Context, config: str = "", to: str = "") -> Report:
    """Add the cache up: by stack and target, by month, by package."""
    return pipeline.stats(pipeline.open_workspace(config), to)


@task(
    iterable=["spec", "tag"],
    help={
        "name": "a container of cache.yaml (default: all of them)",
        "spec": "in their place, what is to be in it: a name, @version, /hash, +variant, target=; may be repeated",
        "env": "in their place, a spack.lock or a spack.yaml, or a folder with one",
        "base": "what lies below: ubuntu:24.04, oci://HOST/NAME:TAG, oci-layout:DIR:TAG or none (default: what the packages were built on)",
        "tag": "a name of the container; may be repeated (default: PACKAGE-VERSION, or the environment's folder)",
        "put_to": "another repository to put it into, oci://HOST/NAME or oci-layout:DIR (default: beside its packages)",
        "config": CONFIG,
        "to": TO,
        "dry_run": "print what it would be made of, send nothing",
        "jobs": JOBS,
        "json": JSON,
    },
)
@reporting
def container(
    _: Context,
    spec: list[str],
    tag: list[str],
    name: str = "",
    env: str = "",
    base: str = "",
    put_to: str = "",
    config: str = "",
    to: str = "",
    dry_run: bool = False,
    jobs: int = 16,
    json: str = "",
) -> Report:
    """Make a container that runs, out of what is published: no Docker, no Spack, for every architecture that has the packages."""
    ws = pipeline.open_workspace(config)
    return pipeline.container(ws, name, spec, env, base, tag, to, put_to, dry_run=dry_run, jobs=jobs)


@task(
    help={
        "name": "the tag, such as hdf5-latest (default: those of cache.yaml)",
        "spec": "what it names, as after `spack install`: of what is published the newest build that fits (default: as cache.yaml says)",
        "config": CONFIG,
        "to": TO,
        "dry_run": "print what it would name, change nothing",
        "jobs": JOBS,
        "json": JSON,
    },
)
@reporting
def tag(
    _: Context, name: str = "", spec: str = "", config: str = "", to: str = "", dry_run: bool = False, jobs: int = 16, json: str = ""
) -> Report:
    """Let a tag of your own name a published build, for every architecture that has one; it moves when it is run again."""
    return pipeline.tag(pipeline.open_workspace(config), name, spec, to, dry_run=dry_run, jobs=jobs)


@task(
    iterable=["bundle"],
    help={
        "bundle": "a file with a Sigstore bundle, as actions/attest writes it; may be repeated, empty names are passed over",
        "config": CONFIG,
        "to": TO,
        "jobs": JOBS,
        "json": JSON,
    },
)
@reporting
def provenance(_: Context, bundle: list[str], config: str = "", to: str = "", jobs: int = 16, json: str = "") -> Report:
    """Put what was attested of images beside them, as referrers: whoever has the image finds it, without GitHub."""
    return pipeline.provenance(pipeline.open_workspace(config), bundle, to, jobs=jobs)


@task(
    iterable=["keep"],
    help={
        "keep": "a spack.lock, or a file of DAG hashes, whose specs are kept too; may be repeated",
        "config": CONFIG,
        "to": TO,
        "dry_run": "print the plan with the reason and the bytes of each entry, delete nothing",
        "yes": "delete even a large share of the cache",
        "grace": "hours for which what nothing names any more is left alone",
        "jobs": JOBS,
        "json": JSON,
    },
)
@reporting
def prune(
    _: Context,
    keep: list[str],
    config: str = "",
    to: str = "",
    dry_run: bool = False,
    yes: bool = False,
    grace: int = 24,
    jobs: int = 16,
    json: str = "",
) -> Report:
    """Delete what the rules of cache.yaml don't keep, never what something that is kept needs."""
    return pipeline.prune(pipeline.open_workspace(config), to, keep, dry_run=dry_run, yes=yes, grace=grace, jobs=jobs)


@task(
    help={
        "config": CONFIG,
        "to": TO,
        "out": "folder of the site (default: var/site)",
        "docs": "documentation that goes with it, below docs/: the folder that `nox -s docs -- FOLDER` made (default: none)",
    }
)
@reporting
def render(_: Context, config: str = "", to: str = "", out: str = "", docs: str = "") -> Report:
    """Render the website and the API from the catalog."""
    return pipeline.render(pipeline.open_workspace(config), to, out, docs)


@task(
    help={
        "config": CONFIG,
        "to": f"what --live renders: {TO}",
        "port": "port on 127.0.0.1; 0 takes a free one",
        "out": "folder of the site (default: var/site)",
        "live": "render it first, and again whenever a template or cache.yaml's site changes; pages that are open load again",
    }
)
@reporting
def serve(_: Context, config: str = "", to: str = "", port: int = 8000, out: str = "", live: bool = False) -> None:
    """Show the rendered site on this machine."""
    pipeline.serve(config, to, port, out, live=live)


@task(
    help={
        "config": CONFIG,
        "to": TO,
        "sample": "percentage of the images to look at",
        "seed": "which sample: the one that an earlier run named (default: another each time)",
        "resume": "go on where an interrupted run stopped: layers that it found right are not read again",
        "repair": "mend index, catalog and lost tags",
        "mirror": "hold the local mirror against the registry too",
        "attestations": "verify what GitHub Actions attested of the images, too (takes a token, and the package sigstore)",
        "jobs": JOBS,
        "json": JSON,
    }
)
@reporting
def verify(
    _: Context,
    config: str = "",
    to: str = "",
    sample: int = 100,
    seed: int = 0,
    resume: bool = False,
    repair: bool = False,
    mirror: bool = False,
    attestations: bool = False,
    jobs: int = 16,
    json: str = "",
) -> Report:
    """Check every digest, spec and closure of the registry, its catalog and its index."""
    ws = pipeline.open_workspace(config)
    return pipeline.verify(
        ws, to, jobs=jobs, sample=sample, seed=seed, resume=resume, repair=repair, mirror=mirror, attestations=attestations
    )


@task(help={"config": CONFIG, "offline": "check only what needs no network", "to": TO, "json": JSON})
@reporting
def doctor(_: Context, config: str = "", offline: bool = False, to: str = "", json: str = "") -> Report:
    """Say what is wrong with the set-up: settings, Spack, machine, registry and GitHub, each finding with its remedy."""
    return pipeline.doctor(config, to, offline=offline)


@task(
    iterable=["spec"],
    help={
        "spec": "what to build; may be repeated (default: the stack's specs)",
        "config": CONFIG,
        "stack": STACK,
        "spack": SPACK,
        "to": TO,
    },
)
@reporting
def cache(_: Context, spec: list[str], config: str = "", stack: str = "", spack: str = "", to: str = "") -> Report:
    """The whole road: install, build, push, index, render, verify."""
    return pipeline.cache(pipeline.open_workspace(config), spec, stack, spack, to)


@task(help={"spack": SPACK})
@reporting
def demo(_: Context, spack: str = "") -> Report:
    """The whole road on the example packages, then what to try next."""
    return pipeline.demo(spack)


@task(help={"out": "folder to write to"})
@reporting
def docs(_: Context, out: str = "docs/reference") -> Report:
    """Write the reference pages and JSON schemas that come from the code."""
    return pipeline.docs(Path(out))
