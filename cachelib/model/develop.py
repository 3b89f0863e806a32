"""Code that is built from a git checkout of the owner's own, known by its commit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cachelib.model.errors import ConfigError
from cachelib.model.setting import LINE, doc

#: A package's name, and a version of its recipe, as Spack writes them after `spack develop`.
PACKAGE = r"^[a-z0-9_][a-z0-9_-]*$(?!\n)"
_SPEC = r"^[a-z0-9_][a-z0-9_-]*@=?[A-Za-z0-9_][A-Za-z0-9_.-]*$(?!\n)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Develop:
    """A package whose code lies in a git checkout, and is built as the commit that it is at."""

    spec: str = field(metadata=doc("The package, and which version of its recipe the code is, such as my-solver@main.", pattern=_SPEC))
    path: str = field(
        default=".",
        metadata=doc(
            "Folder of the code, relative to cache.yaml, in a git checkout: the last commit that changed something in it is built.",
            pattern=LINE,
        ),
    )

    @property
    def name(self) -> str:
        """The package's name."""
        return self.spec.partition("@")[0]

    @property
    def version(self) -> str:
        """The version of the recipe."""
        return self.spec.partition("@")[2].removeprefix("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The code of a package: the version and the commit (40 hex digits) that it is built as."""

    name: str
    version: str
    commit: str

    @property
    def requirement(self) -> str:
        """What it asks of Spack's concretizer. The commit is a part of the DAG hash: other code has another hash."""
        return f"@{self.version} commit={self.commit}"


def parse_develop(section: object, where: str) -> dict[str, Develop]:
    """Read the `develop` section of a spack.yaml, paths relative to it; raise ConfigError naming what is wrong.

    Spack puts the code beside the environment, by the package's name, where no path is told.
    """
    if not isinstance(section, Mapping):
        raise ConfigError(f"{where}: `develop` is no mapping", hint="as in Spack: `develop: {NAME: {spec: NAME@VERSION, path: FOLDER}}`")
    return {str(name): _entry(str(name), entry, where) for name, entry in section.items()}


def _entry(name: str, entry: Any, where: str) -> Develop:
    spec, path = (str(entry.get(key) or "") for key in ("spec", "path")) if isinstance(entry, Mapping) else ("", "")
    if not re.match(_SPEC, spec) or Develop(spec=spec).name != name:
        raise ConfigError(
            f"{where}: develop: {name} has the spec {spec!r}",
            hint=f"write {name}@VERSION, a version of its recipe: variants go into `specs`",
        )
    return Develop(spec=spec, path=path or name)
