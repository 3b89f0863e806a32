"""The record of a spec: what a build knows and a tarball doesn't tell. Lies in the mirror, beside the entry."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from cachelib.model.errors import FormatError
from cachelib.model.outcome import BuildOutcome, Built, Failed, Phase, Reused, Skipped

T = TypeVar("T", "EnvChange", "PackageInfo", "Origin")

#: Raised when a reader of the old format would misunderstand the new one.
RECORD_VERSION = 1
#: A record of more bytes than this is none. Real ones have some KB.
RECORD_LIMIT = 16 * 1024 * 1024

_KINDS: dict[str, type[Built | Reused | Failed | Skipped]] = {
    "built": Built,
    "reused": Reused,
    "failed": Failed,
    "skipped": Skipped,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvChange:
    """One change to the environment that a package asks for at run time (Spack, util/environment.py)."""

    op: str  # set, unset, prepend_path, append_path, append_flags, remove_flags
    name: str
    value: str = ""
    separator: str = ":"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInfo:
    """What the recipe says of its package."""

    description: str = ""
    homepage: str = ""
    license: str = ""
    maintainers: tuple[str, ...] = ()
    redistributable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a build came from. `created` is RFC 3339 in UTC; `repos` are the commits of further recipes, URL#COMMIT[:FOLDER], by blanks."""

    stack: str = ""
    spack_version: str = ""
    spack_commit: str = ""
    packages_version: str = ""
    packages_commit: str = ""
    repos: str = ""
    source: str = ""
    revision: str = ""
    run: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One spec's record: which spec, what happened, what its package is, what it needs at run time."""

    name: str
    version: str
    hash: str
    outcome: BuildOutcome
    package: PackageInfo = field(default_factory=PackageInfo)
    environment: tuple[EnvChange, ...] = ()
    origin: Origin = field(default_factory=Origin)

    def json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        kind = type(self.outcome).__name__.lower()
        return {
            "record": RECORD_VERSION,
            "name": self.name,
            "version": self.version,
            "hash": self.hash,
            "outcome": {"kind": kind} | asdict(self.outcome),
            "package": asdict(self.package),
            "environment": [asdict(change) for change in self.environment],
            "origin": asdict(self.origin),
        }


def parse_record(data: Mapping[str, Any]) -> Record:
    """Read a record's JSON object; raise FormatError where it is of another version or malformed."""
    try:
        if data["record"] != RECORD_VERSION:
            raise FormatError(f"a record of version {data['record']!r}; this program reads {RECORD_VERSION}")
        outcome = dict(data["outcome"])
        kind = _KINDS[outcome.pop("kind")]
        if "phases" in outcome:
            outcome["phases"] = tuple(Phase(**phase) for phase in outcome["phases"])
        if "error_lines" in outcome:
            outcome["error_lines"] = tuple(outcome["error_lines"])
        for key, value in outcome.items():
            _check(key, value)
        package = dict(data["package"])
        package["maintainers"] = tuple(package.get("maintainers", ()))
        return Record(
            name=str(data["name"]),
            version=str(data["version"]),
            hash=str(data["hash"]),
            outcome=kind(**outcome),
            package=_texts(PackageInfo(**package)),
            environment=tuple(_texts(EnvChange(**change)) for change in data["environment"]),
            origin=_texts(Origin(**data["origin"])),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"a record is malformed: {error!r}"[:300]) from None


def _check(key: str, value: object) -> None:
    """Raise TypeError where a field of an outcome holds what no build writes there."""
    match key, value:
        case "seconds", int() | float() if not isinstance(value, bool) and 0 <= value < 1e9:
            return
        case "phases", tuple():
            for phase in value:
                _check("name", phase.name)
                _check("seconds", phase.seconds)
        case "error_lines", tuple() if all(isinstance(line, str) for line in value):
            return
        case _, str() if key not in ("seconds", "phases", "error_lines"):
            return
        case _:
            raise TypeError(f"{key} is {value!r}"[:200])


def _texts(value: T) -> T:
    """The value, if everything in it is of the type that it should have: text, names, or a yes or no."""
    for item in fields(value):
        kind = {"redistributable": bool, "maintainers": tuple}.get(item.name, str)
        if not isinstance(getattr(value, item.name), kind):
            raise TypeError(f"{item.name} is {getattr(value, item.name)!r}")
    return value


def apply_environment(changes: tuple[EnvChange, ...], env: MutableMapping[str, str]) -> None:
    """Carry out the changes on an environment, variable by variable in the order of their names, as Spack does."""
    for change in sorted(changes, key=lambda change: change.name):
        name, value, sep = change.name, change.value, change.separator
        held = env.get(name, "")
        match change.op:
            case "set":
                env[name] = value
            case "unset":
                env.pop(name, None)
            case "prepend_path":
                env[name] = sep.join([posixpath.normpath(value), *([held] if held else [])])
            case "append_path":
                env[name] = sep.join([*([held] if held else []), posixpath.normpath(value)])
            case "append_flags":
                env[name] = sep.join([*([held] if held else []), value])
            case "remove_flags":
                env[name] = sep.join(flag for flag in held.split(sep) if flag != value) if held else ""
            case _:
                raise FormatError(f"unknown change {change.op!r} to {name} in a record")
