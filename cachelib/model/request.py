"""A request held against concrete specs without Spack: the plain part of Spack's language, and a refusal of the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cachelib.model.errors import FormatError, UsageError
from cachelib.model.spec import ConcreteSpec
from cachelib.model.version import check_version, in_range

_PART = re.compile(
    r"\s*(?:"
    r"(?P<name>(?<![\w.-])[A-Za-z0-9_][A-Za-z0-9_.-]*(?![\w.-]*=))"
    r"|@(?P<version>git\.[\w./-]+=[\w.-]+|[0-9A-Fa-f]{40}=[\w.-]+|[=\w.:,-]+)"
    r"|/(?P<hash>[a-z2-7]+)(?![\w/])"
    r"|(?P<flag>[+~]|(?<!\S)-)(?P<variant>[A-Za-z0-9_][\w-]*)"
    r"|(?P<key>[A-Za-z0-9_][\w-]*)=(?!=)(?P<value>\"[^\"]*\"|'[^']*'|[\w+.,:=%^~/\\-]+)(?!\S)"
    r")",
    re.ASCII,
)
_FLAGS = frozenset({"cflags", "cxxflags", "cppflags", "fflags", "ldflags", "ldlibs"})
_ARCHITECTURE = {"target": "target", "os": "os", "platform": "platform", "operating_system": "os"}

#: Where the root of a request ends, and what it is to be built with begins; what is quoted is no end.
_ROOT = re.compile(r"(?:[^\"'^%]|\"[^\"]*\"|'[^']*')*")
_QUOTED = re.compile(r"(?<!target)(?<!arch)(?<!=)==?(?:\"[^\"]*\"|'[^']*')")
_TARGET = re.compile(r"(?:^|\s)(?:target==?|arch==?[^\s-]+-[^\s-]+-)[\"']?(?P<target>[^\s\"']+)")


def named_target(text: str) -> str:
    """The target that a request names for itself and all that it needs; empty where it names none."""
    match = _TARGET.search(_QUOTED.sub("", _root(text)))
    return match["target"] if match else ""


def with_target(text: str, target: str) -> str:
    """A request for a target, unless it names one itself. What stands behind a `^` or a `%` would be of that dependency."""
    root = _root(text)
    if not target or named_target(text):
        return text
    return " ".join(filter(None, (root.rstrip(), f"target={target}", text[len(root) :])))


def _root(text: str) -> str:
    match = _ROOT.match(text)
    return match[0] if match else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks for: a name, versions, the beginning of a DAG hash, variants, an architecture; all must hold."""

    text: str
    name: str = ""
    versions: tuple[str, ...] = ()
    hash: str = ""
    variants: tuple[tuple[str, str], ...] = ()

    def matches(self, spec: ConcreteSpec) -> bool:
        """Whether the root of a concrete spec is what is asked for."""
        root = spec.root
        return (
            self.name in ("", root.name, f"{root.namespace}.{root.name}")
            and root.hash.startswith(self.hash)
            and (not self.versions or any(in_range(root.version, wanted) for wanted in self.versions))
            and all(_has(spec, key, value) for key, value in self.variants)
        )


def parse_request(text: str) -> Request:
    """Read a request; raise UsageError for what can only be told by Spack (dependencies, compilers, flags)."""
    name, dag_hash, versions, variants, at = "", "", list[str](), list[tuple[str, str]](), 0
    stripped = text.strip()
    while at < len(stripped):
        match = _PART.match(stripped, at)
        twice = match is not None and (
            (match["version"] and versions) or (match["hash"] and dag_hash) or (match["variant"] or match["key"]) in dict(variants)
        )
        if match is None or match.end() == at or (match["name"] and at > 0) or twice:
            raise _refusal(text, f"{stripped[at : at + 80]!r} is not understood")
        at = match.end()
        name, dag_hash = match["name"] or name, match["hash"] or dag_hash
        if match["version"]:
            try:
                versions = [check_version(wanted) for wanted in match["version"].split(",")]
            except FormatError as error:
                raise _refusal(text, error.message) from None
        if match["flag"]:
            variants.append((match["variant"], "true" if match["flag"] == "+" else "false"))
        if match["key"]:
            variants.append((match["key"], match["value"].strip("\"'")))
    if not stripped:
        raise UsageError("an empty request matches nothing", hint="name a package, or /hash")
    return Request(text=text, name=name, versions=tuple(versions), hash=dag_hash, variants=tuple(variants))


def _refusal(text: str, reason: str) -> UsageError:
    return UsageError(
        f"{text[:200]!r} can't be held against what is published: {reason}",
        hint="a name, @version, /hash, +variant, ~variant, key=value and target= are; dependencies (^, %) are not",
    )


def _has(spec: ConcreteSpec, key: str, wanted: str) -> bool:
    if key == "arch":
        return wanted == "-".join((spec.root.platform, spec.root.os, spec.root.target))
    if key in _ARCHITECTURE:
        return bool(getattr(spec.root, _ARCHITECTURE[key]) == wanted)
    value: Any = spec.root.parameters.get(key)
    if value is None:
        return False
    if isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    held = {str(item) for item in value} if isinstance(value, list) else {str(value)}
    # Compiler flags are parted by spaces, the values of a variant by commas.
    return set(wanted.split() if key in _FLAGS else wanted.split(",")) <= held
