"""Reproducible environments for the tasks: each session installs locked requirements and calls tasks. CI calls sessions."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

LOCKS = Path(".ci/locks")
GROUPS = {"tasks": [], "attestations": ["attestations"], "tests": ["tests"], "docs": ["docs"], "site": ["site"], "dev": ["lint"]}


def locked(session: nox.Session, name: str) -> None:
    """Install exactly what the lock holds: every file is checked against its hash."""
    session.install("--quiet", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS / f"{name}.txt"))


def invoke(session: nox.Session, *arguments: str) -> None:
    """Call a task in the session's environment, on the cache.yaml of the folder that nox was called in: it may be another project's."""
    here = Path(__file__).parent
    if session.invoked_from != str(here):
        session.chdir(session.invoked_from)
    session.run("invoke", "--search-root", str(here), *arguments)


@nox.session
def demo(session: nox.Session) -> None:
    """Walk the whole road on the examples: build, push, index, render, verify."""
    locked(session, "tasks")
    invoke(session, "demo", *session.posargs)


@nox.session
def cache(session: nox.Session) -> None:
    """Build and publish: nox -s cache -- --spec bzip2"""
    locked(session, "tasks")
    invoke(session, "cache", *session.posargs)


@nox.session
def serve(session: nox.Session) -> None:
    """Show the site on this machine while its templates are worked on: pages that are open load again after each change."""
    locked(session, "tasks")
    invoke(session, "serve", "--live", *session.posargs)


@nox.session
def inv(session: nox.Session) -> None:
    """Call any task: nox -s inv -- build --spec bzip2"""
    locked(session, "tasks")
    invoke(session, *(session.posargs or ["--list"]))


@nox.session
def attestations(session: nox.Session) -> None:
    """Verify a cache, and the attestations of its images: nox -s attestations -- --sample 5"""
    locked(session, "attestations")
    invoke(session, "verify", "--attestations", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test that needs no network."""
    locked(session, "tests")
    session.run("pytest", *(session.posargs or ["tests/unit", "tests/architecture", "tests/contract"]))


@nox.session
def e2e(session: nox.Session) -> None:
    """Run the tests that build, publish and install with real Spack."""
    locked(session, "tests")
    session.run("pytest", *(session.posargs or ["tests/e2e"]))


@nox.session
def site(session: nox.Session) -> None:
    """Render a site of a thousand builds, and validate what was built."""
    locked(session, "site")
    session.run("npm", "ci", "--silent", "--prefix", ".ci/site")
    session.run("pytest", *(session.posargs or ["tests/site"]))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into var/docs, or to go with a site: nox -s docs -- FOLDER. A link that leads nowhere fails it."""
    locked(session, "docs")
    folder = session.posargs[0] if session.posargs else str(Path("var", "docs"))
    # -E: a page that didn't change can link to one that is gone.
    doctrees = str(Path(session.create_tmp(), "doctrees"))
    command = ["sphinx-build", "--quiet", "--fail-on-warning", "--keep-going", "-E", "-d", doctrees, "docs", folder]
    session.run(*command, env={"DOCS_WITH_SITE": "yes"} if session.posargs else {})
    session.log(f"the documentation is in {Path(folder, 'index.html')}")


@nox.session
def screens(session: nox.Session) -> None:
    """Take the pictures of the site that docs show."""
    locked(session, "tests")
    session.run("python", "-m", "tests.screens", *session.posargs)


@nox.session
def stress(session: nox.Session) -> None:
    """Kill, crowd and corrupt: the tests that take minutes."""
    locked(session, "tests")
    session.run("pytest", *(session.posargs or ["tests/stress"]))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against real Spack and the bare wire (nox -s bench -- --help); writes docs/explanation/performance.md with --docs."""
    locked(session, "tests")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, who imports whom, and the workflows."""
    locked(session, "dev")
    workflows, actions = (sorted(str(path) for path in Path(".github").glob(found)) for found in ("workflows/*.yml", "actions/*/*.yml"))
    session.run("zizmor", "--offline", "--pedantic", "--quiet", ".github")
    session.run("actionlint", *workflows)
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-actions", *actions)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("pytest", "--quiet", "tests/architecture")


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make .venv, in which `invoke build --spec ...` works as typed."""
    session.run("python3", "-m", "venv", "--clear", ".venv")
    python = str(Path(".venv", "bin", "python"))
    session.run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(LOCKS / "dev.txt"))
    session.log("now type: . .venv/bin/activate && invoke --list")


@nox.session
def lock(session: nox.Session) -> None:
    """Refresh the locked requirements from pyproject.toml (nox -s lock -- --upgrade for the newest of everything)."""
    session.install("--quiet", "--require-hashes", "-r", str(LOCKS / "lock.txt"))
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-header", "--no-annotate", "--no-config", *session.posargs]
    # Where wheels come from is a machine's own affair: none of its settings may reach a lock.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_FIND"))}
    env["UV_CACHE_DIR"] = str(Path(session.create_tmp(), "uv"))
    for name, groups in GROUPS.items():
        chosen = [argument for group in groups for argument in ("--group", group)]
        session.run(*command, "pyproject.toml", *chosen, "--output-file", str(LOCKS / f"{name}.txt"), env=env)
    for name in ("nox", "uv"):
        source = Path(session.create_tmp(), f"{name}.in")
        source.write_text(f"{name}\n", encoding="utf-8")
        target = LOCKS / ("lock.txt" if name == "uv" else "nox.txt")
        session.run(*command, str(source), "--output-file", str(target), env=env)
