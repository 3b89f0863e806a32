"""Drives real Spack as a program, walled off: its own configuration, caches, store and stages, no word from ~/.spack."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import yaml

from cachelib.model.errors import BuildError, InstallError
from cachelib.tools.files import write_atomically
from cachelib.tools.process import Finished, run

_PROBE = Path(__file__).with_name("spack_probe.py")
#: Where externals are looked for: what the system has, not what a person's shell puts before it.
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin"
# A build runs arbitrary code of its packages: only what compiling and fetching need goes along, by name.
_KEPT = re.compile(
    r"PATH|USER|LOGNAME|SHELL|TERM|COLUMNS|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|(https?|no|all|ftp)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE"
    r"|CURL_CA_BUNDLE|GIT_SSL_CAINFO|LD_LIBRARY_PATH|LIBRARY_PATH|CPATH|MANPATH|MODULE\w*|LMOD_\w+|LOADEDMODULES|_LMFILES_|SDKROOT|DEVELOPER_DIR",
    re.IGNORECASE,
)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


#: The scope below all others, beside the configuration.
_MACHINE = "machine"
#: What git is told where Spack runs it.
_GITCONFIG = "gitconfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where a walled-off Spack keeps its things."""

    config: Path
    store: Path
    stage: Path
    cache: Path
    padding: int


def misc_cache(cache: Path, repos: Mapping[str, str]) -> Path:
    """The folder for what Spack remembers of recipes, in a `cache`: one for each choice of package repositories.

    Spack knows an index of recipes by the namespace, and by its time whether it is old (spack/repo.py, RepoIndex): of two commits of one
    repository it takes the newer index for both. What was read of its own packages, which takes minutes, is taken along.
    """
    own = sorted((namespace, path) for namespace, path in repos.items() if namespace != "builtin")
    if not own:
        return cache / "misc"
    folder = cache / f"misc-{hashlib.sha256(json.dumps(own).encode()).hexdigest()[:12]}"
    if not folder.exists():
        for path in sorted(cache.glob("misc*/*/builtin-*.json")):
            write_atomically(folder / path.parent.name / path.name, path.read_bytes())
    return folder


class Spack:
    """One Spack, run with one configuration."""

    def __init__(self, root: Path, folders: Folders, *, python: str, env: Mapping[str, str]) -> None:
        self.root = root
        self._program = str(root / "bin" / "spack")
        self._folders = folders
        venv = str(Path(python).parent)
        path = [folder for folder in env.get("PATH", _SYSTEM_PATH).split(":") if folder and folder != venv]
        self._env = {key: value for key, value in env.items() if _KEPT.fullmatch(key)}
        self._env |= {
            "PATH": ":".join(path),
            # A home of its own: what a person keeps in theirs (logins, keys, settings) is no part of a build.
            "HOME": str(folders.cache / "home"),
            # clingo comes from this interpreter's environment, so Spack bootstraps nothing from the network.
            "SPACK_PYTHON": python,
            "GIT_CONFIG_GLOBAL": str(folders.config / _GITCONFIG),
            "SPACK_USER_CONFIG_PATH": str(folders.config),
            "SPACK_SYSTEM_CONFIG_PATH": str(folders.config / _MACHINE),
            "SPACK_USER_CACHE_PATH": str(folders.cache),
            # What it does is told as it does it: into a pipe Python writes blocks, and a person would see an hour's lines at once.
            "PYTHONUNBUFFERED": "1",
        }

    def version(self) -> tuple[int, int, str]:
        """Major, minor, and the whole version that Spack tells; raise InstallError if it doesn't run."""
        done = self.run("--version")
        match = re.match(r"(\d+)\.(\d+)\.\S+", done.lines[-1]) if done.lines else None
        if done.code != 0 or match is None:
            raise InstallError(f"{self._program} does not run: {done.text.strip()[-500:] or 'it printed nothing'}")
        return int(match[1]), int(match[2]), match[0]

    def configure(self, repos: Mapping[str, str], new_enough_for_installer: bool, code: Mapping[str, str] | None = None) -> None:
        """Write the configuration that holds for every stack of this Spack; `code` are repositories on this machine by package."""
        config: dict[str, Any] = {
            "install_tree": {"root": str(self._folders.store), "padded_length": self._folders.padding},
            "build_stage": [str(self._folders.stage)],
            "test_stage": str(self._folders.cache / "test"),
            "source_cache": str(self._folders.cache / "sources"),
            "misc_cache": str(misc_cache(self._folders.cache, repos)),
        }
        if new_enough_for_installer:
            config["installer"] = "old"  # whose output is read here; the other one is experimental
        self.write_settings({"config": config, "repos": dict(repos), "bootstrap": {"enable": False}})
        # Where the code is fetched from is no part of a hash, nor of an environment that goes to other machines.
        fetched = {name: {"package_attributes": {"git": url}} for name, url in (code or {}).items()}
        self.write_settings({"packages": fetched}, scope=self._folders.config / _MACHINE)
        # Git reads a checkout of another user's only where it is told so in a file, and the person's own is not seen here.
        tops = [url2pathname(urlsplit(url).path) for url in (code or {}).values()]
        safe = [f"\tdirectory = {json.dumps(path, ensure_ascii=False)}\n" for top in tops for path in (top, f"{top}/.git")]
        write_atomically(self._folders.config / _GITCONFIG, "".join(["[safe]\n", *safe]).encode())

    def write_settings(self, sections: Mapping[str, Any], *, scope: Path | None = None) -> None:
        """Write sections of the configuration, each as its file; what is as it should be is left alone."""
        for name, section in sections.items():
            text = yaml.safe_dump({name: section}, sort_keys=False)
            path = (scope or self._folders.config) / f"{name}.yaml"
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                write_atomically(path, text.encode())

    def find_compilers(self) -> None:
        """Write the compilers of this machine into the configuration."""
        self._must(self.run("compiler", "find", "--scope", "user"), "look for compilers")

    def find_externals(self, names: Sequence[str]) -> tuple[str, ...]:
        """Write the named packages of this machine into the configuration; return those that are not there."""
        if not self._without(names):
            return ()
        done = self.run("external", "find", "--scope", "user", "--not-buildable", *names, env={"PATH": _SYSTEM_PATH})
        self._must(done, f"look for {', '.join(names)} on this machine")
        return self._without(names)

    def _without(self, names: Sequence[str]) -> tuple[str, ...]:
        found = yaml.safe_load(self.detected()) or {}
        return tuple(name for name in names if name not in found.get("packages", {}))

    def detected(self) -> bytes:
        """What `find_compilers` and `find_externals` wrote, or nothing yet."""
        path = self._folders.config / "packages.yaml"
        return path.read_bytes() if path.is_file() else b""

    def parse(self, requests: Sequence[str]) -> dict[str, str]:
        """Spack's reason for each request that it can't read or whose package it doesn't know."""
        found: dict[str, str] = self._probe("parse", list(requests), what="read the requests")
        return found

    def compilers(self, wanted: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Which of the wanted compilers are in the configuration, and all that are."""
        found = self._probe("compilers", list(wanted), what="look at the compilers")
        return tuple(found["found"]), tuple(found["all"])

    def names(self) -> list[str]:
        """The names of all packages that the configured repositories hold, virtual ones among them."""
        found: list[str] = self._probe("names", what="list the packages")
        return found

    def facts(self, names: Sequence[str], targets: Sequence[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
        """For each package: why nobody could build and publish it for any of the targets (this machine's own if none), or nothing.

        Beside that the licences that its recipe states, whatever they hang on.
        """
        found = self._probe("facts", {"names": list(names), "targets": list(targets)}, what="look at packages")
        return {name: (str(one["reason"]), tuple(map(str, one["licenses"]))) for name, one in found.items()}

    def concretize(self, env: Path) -> Finished:
        """Concretize an environment; its spack.lock is written where that worked."""
        return self.run("-e", str(env), "concretize", "--force")

    def install(
        self,
        env: Path,
        *,
        jobs: int,
        packages: int,
        on_line: Callable[[str], None],
        only: Sequence[str] = (),
        again: bool = False,
        until: float = math.inf,
    ) -> Finished:
        """Install what the environment's lock holds (`only` some DAG hashes of it), going on past failures; `until` as for `run`.

        With `again` those are built from source, though a cache or the install tree has them; what they need may come from there.
        """
        source = ["--overwrite", "--yes-to-all", "--use-buildcache", "package:never,dependencies:auto"] if again else []
        several = ["--concurrent-packages", str(packages)] if packages > 1 and self.version()[:2] >= (1, 1) else []
        return self.run(
            "-e", str(env), "install", "--only-concrete", "--no-check-signature", "--jobs", str(jobs), *several, *source,
            *(f"/{h}" for h in only), on_line=on_line, until=until,
        )  # fmt: skip

    def describe(self, env: Path) -> dict[str, dict[str, Any]]:
        """What became of each concrete node of an environment, by DAG hash (see spack_probe.py)."""
        found: dict[str, dict[str, Any]] = self._probe("describe", what="tell what is installed", before=("-e", str(env)))
        return found

    def buildcache_push(self, env: Path, mirror: Path, hashes: Iterable[str], *, jobs: int, on_line: Callable[[str], None]) -> None:
        """Write installed specs into a mirror, unsigned, each alone."""
        wanted = [f"/{h}" for h in hashes]
        # One command line takes some hundred thousand characters; thousands of hashes come in groups.
        for at in range(0, len(wanted), 1000):
            done = self.run(
                "-e", str(env), "buildcache", "push", "--unsigned", "--only", "package", "--jobs", str(jobs), str(mirror),
                *wanted[at : at + 1000], on_line=on_line,
            )  # fmt: skip
            self._must(done, "write the mirror")

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        until: float = math.inf,
    ) -> Finished:
        """Run any command of this Spack, `until` the monotonic clock says so at most; colours are taken off its output."""
        clean = (lambda line: on_line(_ANSI.sub("", line))) if on_line else None
        # A scope whose folder does not exist can't be written to.
        self._folders.config.mkdir(parents=True, exist_ok=True)
        (self._folders.cache / "home").mkdir(parents=True, exist_ok=True)
        done = run([self._program, "--color", "never", *arguments], env={**self._env, **(env or {})}, on_line=clean, until=until)
        return replace(done, lines=tuple(_ANSI.sub("", line) for line in done.lines))

    def _probe(self, command: str, asked: Any = None, *, what: str, before: Sequence[str] = ()) -> Any:
        """Run a command of the probe inside Spack, with what is `asked` of it as JSON; return what it tells."""
        with tempfile.TemporaryDirectory() as folder:
            question, told = Path(folder, "asked.json"), Path(folder, "told.json")
            question.write_text(json.dumps(asked), encoding="utf-8")
            given = [] if asked is None else [str(question)]
            self._must(self.run(*before, "python", str(_PROBE), command, *given, str(told)), what)
            return json.loads(told.read_text(encoding="utf-8"))

    def _must(self, done: Finished, what: str) -> None:
        if done.code != 0:
            raise BuildError(f"Spack could not {what}:\n{spack_reason(done.lines)}", hint=f"Spack is {self._program}")


def spack_reason(lines: Sequence[str]) -> str:
    """Spack's own words for why it failed: its last error and what it says below it, without the noise around."""
    starts = [at for at, line in enumerate(lines) if line.startswith(("==> Error:", "Error:"))]
    chosen = lines[starts[0] :] if starts else lines[-15:]
    return "\n".join(line.removeprefix("==> ").removeprefix("Error: ") for line in chosen[:40]).strip()
