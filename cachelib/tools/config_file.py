"""Reads cache.yaml: every mistake in it at once, each with its line and what to write instead."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archspec.cpu
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from license_expression import ExpressionError, LicenseSymbol, LicenseWithExceptionSymbol, get_spdx_licensing

from cachelib.model.config import Settings
from cachelib.model.config_schema import from_data, json_schema
from cachelib.model.container import check_tag_name, problems
from cachelib.model.errors import ConfigError, UsageError
from cachelib.model.licenses import UNKNOWN, is_exception, is_listed
from cachelib.model.oci import parse_image, parse_location
from cachelib.model.package_repo import FolderRepo, parse_pinned
from cachelib.model.request import parse_request
from cachelib.model.stack import Stack
from cachelib.model.text import printable

#: A document of more values than this is no settings file.
NODES = 100_000
#: A message of more characters than this quotes what nobody reads.
_MESSAGE = 2_000
#: Names that the site keeps for itself, beside the images.
RESERVED = frozenset({
    "packages", "api", "assets", "manifest", "badges", "build", "docs", "failures", "feeds", "keys", "search", "statistics", "weather",
    "why", "index.html", "404.html", "sitemap.xml",
})  # fmt: skip
Path_ = tuple[str | int, ...]


def read_settings(path: Path) -> Settings:
    """Read the settings; raise ConfigError listing all problems with their lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint="run this in the folder of your cache, or name the file with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from None
    return parse_settings(text, str(path), path.parent)


def parse_settings(text: str, name: str, folder: Path) -> Settings:
    """Read settings from YAML text; `name` is what messages call it, paths in it are relative to `folder`."""
    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
        if document is not None and _size(document, {}) > NODES:
            raise ConfigError(f"{name} unfolds to more than {NODES} values", hint="use fewer anchors and aliases")
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}: not YAML: {reason}", hint="mend the line, then run `inv config`") from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, OverflowError) as error:
        raise ConfigError(f"{name}: a value that YAML can't read: {error}", hint="quote dates and versions, and nest less") from None
    if not isinstance(data, dict) or document is None:
        raise ConfigError(f"{name} is empty or holds no mapping", hint="see docs/reference/cache-yaml.md for one to start from")
    lines = dict(_lines(document, ()))
    problems = [(line, f"the key {key} is not text: quote it") for key, line in _other_keys(document)]
    if problems:
        raise _error(name, problems)
    problems = [
        (_line(lines, tuple(error.absolute_path)), message)
        for error in Draft202012Validator(json_schema()).iter_errors(data)
        for message in _explain(error)
    ]
    problems += [(lines.get(at, 1), f"`{at[-1]}` stands twice") for at in _duplicates(document, ())]
    if not problems:
        settings: Settings = from_data(Settings, data)
        problems = [(_line(lines, at), message) for at, message in _semantic(settings, folder)]
    if problems:
        raise _error(name, problems)
    return settings


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a document holds when every alias is written out."""
    if id(node) not in known:
        children = [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = () if isinstance(node, yaml.ScalarNode) else children
        known[id(node)] = 1 + sum(_size(child, known) for child in inner)
    return known[id(node)]


def _error(name: str, problems: list[tuple[int, str]]) -> ConfigError:
    listed = "\n".join(f"  {name}:{line}: {printable(message[:_MESSAGE])}" for line, message in sorted(set(problems)))
    count = "one problem" if len(set(problems)) == 1 else f"{len(set(problems))} problems"
    return ConfigError(f"{count} in {name}:\n{listed}", hint="mend them, then run `inv config` to check")


def _other_keys(node: yaml.Node) -> Iterator[tuple[str, int]]:
    """Keys that YAML takes for a number, a date or a yes and no, outside of `config`, which is Spack's."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                yield (str(key.value)[:80] if isinstance(key, yaml.ScalarNode) else "of a mapping"), key.start_mark.line + 1
            elif key.value != "config":
                yield from _other_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _other_keys(value)


def _explain(error: ValidationError) -> Iterator[str]:
    """Turn a schema's complaint into what a person should write."""
    where = ".".join(map(str, error.absolute_path)) or "the file"
    schema = error.schema if isinstance(error.schema, dict) else {}
    about = schema.get("description", "")
    wanted: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "additionalProperties":
            known = list(schema.get("properties", {}))
            for key in sorted(set(instance) - set(known), key=str):
                close = difflib.get_close_matches(str(key), known, n=1)
                advice = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
                yield f"`{key}` is not known in {where}; {advice}"
        case "required":
            missing = [key for key in wanted if key not in instance]
            for key in missing:
                yield f"{where} lacks `{key}`: {schema['properties'][key].get('description', '')}"
        case "type":
            yield f"{where} is {_kind(error.instance)}, but must be {_TYPES[wanted]}. {about}".rstrip()
        case "enum":
            allowed = ", ".join(str(value) for value in wanted if value and isinstance(value, str))
            yield f"{where} is {error.instance!r}, but must be one of: {allowed}"
        case "pattern" if "propertyNames" in list(error.absolute_schema_path):
            yield f"the name {error.instance!r} in {where} may hold lower-case letters, digits and single . _ - between them"
        case "pattern":
            yield f"{where} is {error.instance!r}, which is not what is expected. {about}".rstrip()
        case "minProperties":
            yield f"{where} names nothing; at least one is needed. {about}".rstrip()
        case _:
            yield f"{where}: {error.message}. {about}".rstrip()


def _semantic(settings: Settings, folder: Path) -> Iterator[tuple[Path_, str]]:
    """What a schema can't say."""
    try:
        if settings.registry:
            parse_location(settings.registry, folder=folder)
    except UsageError as error:
        yield ("registry",), f"{error.message}; {error.hint}"
    for name, container in settings.containers.items():
        for key, message in problems(name, container, folder):
            yield ("containers", name, key), message
    boxes = {tag: name for name, container in settings.containers.items() if not container.to for tag in container.tags or (name,)}
    for tag, request in settings.tags.items():
        if tag in boxes:
            yield ("tags", tag), f"{tag} is a tag of the container {boxes[tag]} already: give one of them another"
        try:
            check_tag_name(tag)
            parse_request(request)
        except UsageError as error:
            yield ("tags", tag), f"{error.message}; {error.hint}"
    images: dict[str, tuple[str, Stack]] = {}
    for name, stack in settings.stacks.items():
        if not stack.specs and not stack.environment:
            yield ("stacks", name), f"stack {name} builds nothing: give it `specs` or an `environment`"
        if stack.image_name in RESERVED:
            yield ("stacks", name, "image"), f"{stack.image_name} is a name that the site needs itself: choose another `image`"
        concretizer = stack.config.get("concretizer")
        if stack.build_compiler and isinstance(concretizer, dict) and "reuse" in concretizer:
            at_reuse = ("stacks", name, "config", "concretizer", "reuse")
            yield at_reuse, "it would take the place of the `reuse` by which Spack takes the `build_compiler`: leave one of them out"
        if stack.environment and not _is_file(folder / stack.environment):
            yield ("stacks", name, "environment"), f"{stack.environment} does not exist, relative to {folder}"
        for at, target in enumerate(stack.targets):
            if target not in archspec.cpu.TARGETS:
                close = difflib.get_close_matches(target, archspec.cpu.TARGETS, n=1)
                advice = f"; did you mean {close[0]}?" if close else ""
                yield ("stacks", name, "targets", at), f"{target} is no microarchitecture that Spack knows{advice}"
        if stack.base_image:
            try:
                parse_image(stack.base_image, folder=folder)
            except UsageError as error:
                yield ("stacks", name, "base_image"), f"{error.message}; {error.hint}"
        for at, url in enumerate(stack.upstreams):
            try:
                if url.startswith("oci"):
                    parse_location(url, folder=folder)
            except UsageError as error:
                yield ("stacks", name, "upstreams", at), f"{error.message}; {error.hint}"
        for at, repo in enumerate(stack.repos):
            try:
                found = parse_pinned(repo)
            except UsageError as error:
                yield ("stacks", name, "repos", at), f"{error.message}; {error.hint}"
            else:
                if isinstance(found, FolderRepo) and not _is_file(folder / found.path / "repo.yaml"):
                    yield ("stacks", name, "repos", at), f"{repo} holds no repo.yaml, relative to {folder}"
        for key, identifiers in (("allow", stack.licenses.allow), ("deny", stack.licenses.deny)):
            for at, identifier in enumerate(identifiers):
                if advice := _no_license(identifier):
                    yield ("stacks", name, "licenses", key, at), f"{identifier} is no licence that SPDX lists; {advice}"
        for package, develop in stack.develop.items():
            if develop.name != package:
                yield ("stacks", name, "develop", package, "spec"), f"the spec of {package} is {develop.spec}, which names another package"
            if not _is_folder(folder / develop.path):
                yield ("stacks", name, "develop", package, "path"), f"{develop.path} is no folder, relative to {folder}"
        other, first = images.setdefault(stack.image_name, (name, stack))
        if first.base_image != stack.base_image:
            yield (
                ("stacks", name, "base_image"),
                f"stacks {other} and {name} publish into `{stack.image_name}` on different bases: give one of them its own `image`",
            )
        if first.spack.commit != stack.spack.commit:
            yield (
                ("stacks", name, "spack"),
                (
                    f"stacks {other} and {name} publish into one image `{stack.image_name}` with different Spacks, and DAG hashes "
                    "don't encode the Spack version: pin the same commit, or give one of them its own `image`"
                ),
            )


def _no_license(identifier: str) -> str:
    """What to write in place of something that is no single licence; nothing where it is one."""
    if identifier == UNKNOWN:
        return ""
    licensing = get_spdx_licensing()
    with contextlib.suppress(ExpressionError, ValueError, TypeError, AttributeError):
        parsed = licensing.parse(identifier, validate=True)
        # One that is alone names no licence: nothing would ever match it.
        pair = isinstance(parsed, LicenseWithExceptionSymbol)
        names, exception = (parsed.license_symbol, is_exception(parsed.exception_symbol)) if pair else (parsed, True)
        if isinstance(names, LicenseSymbol) and not is_exception(names) and exception and is_listed(names):
            return ""
    listed = [key for key, one in licensing.known_symbols.items() if not is_exception(one) and not key.startswith("LicenseRef-")]
    alike = [key for key in listed if key.lower().startswith(identifier.lower()[:3])]
    close = difflib.get_close_matches(identifier, alike, n=1, cutoff=0.3)
    return f"did you mean {close[0]}?" if close else f"write one as on https://spdx.org/licenses, or {UNKNOWN} for what recipes don't tell"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


_TYPES = {
    "string": "text (quote it)", "integer": "a whole number", "boolean": "true or false", "array": "a list", "object": "a mapping",
}  # fmt: skip


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    return {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}.get(
        type(value), f"a {type(value).__name__} (quote it to make it text)"
    )


def _line(lines: dict[Path_, int], at: Path_) -> int:
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at, 1)


def _lines(node: yaml.Node, at: Path_) -> Iterator[tuple[Path_, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*at, key.value), key.start_mark.line + 1
            yield from _lines(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*at, index), value.start_mark.line + 1
            yield from _lines(value, (*at, index))


def _duplicates(node: yaml.Node, at: Path_) -> Iterator[Path_]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield (*at, key.value)
            seen.add(key.value)
            yield from _duplicates(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _duplicates(value, (*at, index))
