"""What a rendered folder may hold: files of its own kind that any reader can read, and no markup that its templates don't have."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit
from xml.etree import ElementTree

from tests.support.hostile import PRODUCT
from tests.unit.test_rendering import Page

#: No file of JSON has more (bytes).
LIMIT = 2_000_000
_ADDRESSES = ("href", "src", "action", "data", "xlink:href", "formaction", "poster")
_ICON = "data:image/svg+xml,%3Csvg xmlns="
_OBEYED = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})


def strict_json(text: str) -> Any:
    """JSON as others read it: no NaN, and nothing that UTF-8 can't hold."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def snapshot(root: Path, but: Path | None = None) -> dict[str, bytes | None]:
    """Everything below a folder, except what lies in `but`."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if but is None or (path != but and but not in path.parents)
    }


def check_tree(folder: Path, own: str = "") -> Counter[str]:
    """Assert that a site is whole and harmless; return how many files of which kind there are. `own` is what its owner called it."""
    kinds = Counter[str]()
    for path in folder.rglob("*"):
        assert not path.is_symlink(), path
        if not path.is_file():
            continue
        inside = path.relative_to(folder)
        kinds[path.suffix] += 1
        if path.suffix == ".json" or inside.parts[0] == "manifest":
            data = path.read_bytes()
            assert len(data) < LIMIT, inside
            strict_json(data.decode())
            assert inside.parts[0] != "manifest" or not re.search(rb"[<>&]", data), inside
        elif path.suffix in (".xml", ".svg"):
            ElementTree.parse(path)
            _check_characters(inside, path.read_text(encoding="utf-8"), own)
        elif path.suffix == ".html":
            _check_page(inside, path.read_text(encoding="utf-8"), own)
    return kinds


def _check_characters(path: Path, text: str, own: str) -> None:
    joined = {character for character in own if unicodedata.category(character) == "Cf"}
    found = {character for character in set(text) if unicodedata.category(character) in _OBEYED} - {"\n", "\t"} - joined
    assert not found, f"{path}: {found!a}"


def _check_page(path: Path, text: str, own: str) -> None:
    _check_characters(path, text, own)
    assert PRODUCT not in text, f"{path}: a text was computed as a template"
    for tag, attributes in Page(text).tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")], f"{path}: {attributes}"
        assert tag not in ("img", "iframe", "object", "embed", "base", "form", "style", "template"), f"{path}: {tag}"
        assert tag != "script" or re.fullmatch(
            r"(?:\.\./)*/?assets/[\w-]+\.js|https?://.+/assets/[\w-]+\.js", str(attributes.get("src"))
        ), path
        for name in _ADDRESSES:
            address = str(attributes.get(name) or "")
            assert urlsplit(address.replace("[", "%5B")).scheme in ("", "http", "https") or address.startswith(_ICON), (
                f"{path}: {address!a}"
            )
            assert not address.startswith("//"), f"{path}: {address!a}"


def shapes(folder: Path) -> dict[str, Counter[tuple[str, ...]]]:
    """Of every page, how many tags there are of which attributes."""
    return {
        path.relative_to(folder).as_posix(): Counter((tag, *attributes) for tag, attributes in Page(path.read_text(encoding="utf-8")).tags)
        for path in folder.rglob("*.html")
        if path.relative_to(folder).parts[0] != "manifest"
    }
