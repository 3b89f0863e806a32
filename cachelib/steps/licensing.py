"""Decides by its licence whether a build may be given away: an SPDX expression, against what an owner allows and denies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

from license_expression import AND, OR, ExpressionError, LicenseSymbol, LicenseWithExceptionSymbol, get_spdx_licensing

from cachelib.model.licenses import BY_RECIPE, UNKNOWN, Licenses, is_exception, is_listed
from cachelib.model.record import PackageInfo


def withheld(package: PackageInfo, licenses: Licenses = Licenses()) -> str:  # noqa: B008 - it is frozen
    """Why a package may not be published, or nothing where it may.

    Of alternatives (OR) one is enough, of what holds together (AND) each is needed. An exception (WITH) that is in a list goes by that,
    any other by its licence; one that stands beside licences (AND) only permits more, and asks for nothing.
    """
    if not package.redistributable:
        return BY_RECIPE
    if not licenses:
        return ""
    rules = _Rules(allow=_known(licenses.allow), deny=_known(licenses.deny))
    try:
        if (parsed := _parsed(package.license)) is not None:
            if rules.permit(parsed):
                return ""
            denied = rules.deny and not _Rules(allow=frozenset(), deny=rules.deny).permit(parsed)
            return f"its licence is {package.license}, which `licenses` {'denies' if denied else 'does not allow'}"
    except RecursionError:
        pass  # a record may hold anything: what is nested so deep is no licence
    return "" if rules.permits(UNKNOWN) else f"its recipe states no licence that SPDX lists, and `licenses` {_which(licenses, UNKNOWN)}"


def unpublishable(stated: Sequence[str], licenses: Licenses) -> str:
    """Why a package may not be published, whichever of the licences that its recipe states holds for a build of it; else nothing."""
    reasons = [withheld(PackageInfo(license=one), licenses) for one in stated or ("",)]
    return reasons[0] if all(reasons) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    allow: Set[str]
    deny: Set[str]

    def permits(self, key: str) -> bool:
        return key not in self.deny and (not self.allow or key in self.allow)

    def permit(self, node: Any) -> bool:
        """Whether an expression can be fulfilled."""
        if isinstance(node, AND):
            return all(map(self.permit, [one for one in node.args if not _permits_more(one)] or node.args))
        if isinstance(node, OR):
            return any(map(self.permit, node.args))
        if isinstance(node, LicenseWithExceptionSymbol):
            whole = _with(node)
            return self.permits(whole if whole in self.allow | self.deny else _key(node.license_symbol))
        return self.permits(_key(node))


def _which(licenses: Licenses, key: str) -> str:
    return f"denies {key}" if key in licenses.deny else f"does not allow {key}"


def _parsed(text: str) -> Any:
    """The expression of a text; nothing where it is none, or names nothing that SPDX knows."""
    try:
        parsed = _licensing().parse(text)
    except (ExpressionError, ValueError, TypeError, AttributeError):
        return None
    if parsed is None or all(_key(one) == UNKNOWN for one in _licensing().license_symbols(parsed, decompose=True)):
        return None
    return parsed


def _key(symbol: Any) -> str:
    known = symbol.key in _licensing().known_symbols and is_listed(symbol) and not is_exception(symbol)
    return str(symbol.key) if known else UNKNOWN


def _permits_more(node: Any) -> bool:
    return isinstance(node, LicenseSymbol) and node.key in _licensing().known_symbols and is_exception(node)


def _with(node: LicenseWithExceptionSymbol) -> str:
    return f"{node.license_symbol.key} WITH {node.exception_symbol.key}"


def _known(identifiers: tuple[str, ...]) -> frozenset[str]:
    """The identifiers as the library has them: in SPDX's own letters, old ones (GPL-2.0+) as what they are called now."""
    return frozenset(identifier if identifier == UNKNOWN else _licensing().parse(identifier).render() for identifier in identifiers)


@cache
def _licensing() -> Any:
    return get_spdx_licensing()


def restricted(described: Mapping[str, Mapping[str, Any]], licenses: Licenses) -> dict[str, str]:
    """What of Spack's own answers may not be given away, by DAG hash, each with the reason."""
    found = {}
    for h, facts in described.items():
        if facts.get("external"):
            continue
        package = facts.get("package") or {}
        told = PackageInfo(license=str(package.get("license") or ""), redistributable=package.get("redistributable", True))
        if reason := withheld(told, licenses):
            found[h] = reason
    return found
