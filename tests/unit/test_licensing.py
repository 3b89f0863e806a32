"""Licences as recipes state them, against what owners allow and deny."""

from __future__ import annotations

from typing import Any

import pytest

from cachelib.model.licenses import BY_RECIPE, Licenses
from cachelib.model.record import PackageInfo
from cachelib.steps.licensing import restricted, unpublishable, withheld

PERMISSIVE = Licenses(allow=("MIT", "Apache-2.0", "BSD-3-Clause"))
NO_GPL = Licenses(deny=("GPL-3.0-only", "GPL-2.0"))


@pytest.mark.parametrize(
    ("stated", "allowed", "not_denied"),
    [
        ("MIT", True, True),
        ("mit", True, True),  # SPDX 2.3, annex D: identifiers are read in any letters
        ("GPL-3.0-only", False, False),
        ("GPL-3.0-or-later", False, True),  # another licence than GPL-3.0-only: whoever means both denies both
        ("GPL-2.0-only", False, False),  # GPL-2.0 is its old name
        ("Apache-2.0 OR GPL-3.0-only", True, True),
        ("MIT AND GPL-3.0-only", False, False),
        ("(MIT OR GPL-3.0-only) AND BSD-3-Clause", True, True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False, False),
        ("Apache-2.0 WITH LLVM-exception", True, True),
        ("Apache-2.0 OR custom", True, True),
        ("Apache-2.0 AND custom", False, True),
        ("", False, True),
        ("UNKNOWN", False, True),
        ("NVIDIA Software License Agreement", False, True),
        ("MIT OR", False, True),  # no expression
        ("BSD-3-Clause AND PCRE2-exception", True, True),  # what an exception adds is a permission
        ("GPL-3.0-only AND PCRE2-exception", False, False),
        ("PCRE2-exception", False, True),
        ("MPL-2.0-no-copyleft-exception", False, True),
        ("LicenseRef-scancode-proprietary-license AND MIT", False, True),
        ("MIT AND (GPL-3.0-only OR (" * 500 + "MIT" + "))" * 500, False, True),  # what a worker hands on may be anything
        ("MIT AND (Zlib OR (" * 3000 + "MIT" + "))" * 3000, False, True),
    ],
)
def test_expressions(stated: str, allowed: bool, not_denied: bool) -> None:
    package = PackageInfo(license=stated)
    assert (withheld(package, PERMISSIVE) == "") is allowed
    assert (withheld(package, NO_GPL) == "") is not_denied
    assert withheld(package) == ""


def test_what_is_not_told_can_be_named() -> None:
    custom = PackageInfo(license="custom")
    assert withheld(custom, Licenses(allow=("MIT", "UNKNOWN"))) == ""
    assert withheld(custom, Licenses(deny=("UNKNOWN",))) == "its recipe states no licence that SPDX lists, and `licenses` denies UNKNOWN"
    assert withheld(custom, PERMISSIVE) == "its recipe states no licence that SPDX lists, and `licenses` does not allow UNKNOWN"


def test_what_somebody_calls_a_licence_is_not_told() -> None:
    """The library knows more names than SPDX lists, and takes some licences for exceptions."""
    for stated in ("LicenseRef-mine", "LicenseRef-scancode-proprietary-license", "PCRE2-exception"):
        assert withheld(PackageInfo(license=stated), Licenses(deny=("UNKNOWN",))), stated
        assert withheld(PackageInfo(license=stated), Licenses(allow=("UNKNOWN",))) == ""
    for stated in ("MPL-2.0-no-copyleft-exception", "GPL-3.0-with-GCC-exception", "Net-SNMP"):
        assert withheld(PackageInfo(license=stated), Licenses(deny=("UNKNOWN",))) == ""
        assert withheld(PackageInfo(license=stated), Licenses(allow=(stated,))) == ""
        assert withheld(PackageInfo(license=stated), Licenses(deny=(stated,)))


def test_an_exception_that_is_listed_goes_before_its_licence() -> None:
    package = PackageInfo(license="GPL-3.0-or-later WITH GCC-exception-3.1")
    runtime = "GPL-3.0-or-later WITH GCC-exception-3.1"
    assert withheld(package, Licenses(deny=("GPL-3.0-or-later",)))
    assert withheld(package, Licenses(allow=("MIT", runtime))) == ""
    assert withheld(package, Licenses(allow=("GPL-3.0-or-later",), deny=(runtime,)))
    assert withheld(package, Licenses(allow=("GPL-3.0-or-later",))) == ""


def test_what_both_lists_name_is_denied() -> None:
    assert withheld(PackageInfo(license="MIT"), Licenses(allow=("MIT",), deny=("MIT",))) == "its licence is MIT, which `licenses` denies"


def test_the_recipe_comes_first() -> None:
    assert withheld(PackageInfo(license="MIT", redistributable=False), PERMISSIVE) == BY_RECIPE


def test_what_spack_tells() -> None:
    described: dict[str, dict[str, Any]] = {
        "a": {"package": {"license": "MIT", "redistributable": True}},
        "b": {"package": {"license": "GPL-3.0-only", "redistributable": True}},
        "c": {"package": {"license": "MIT", "redistributable": False}},
        "d": {"external": True, "installed": True},  # it is nobody's to give away
    }
    assert restricted(described, PERMISSIVE) == {"b": "its licence is GPL-3.0-only, which `licenses` does not allow", "c": BY_RECIPE}
    assert restricted(described, Licenses()) == {"c": BY_RECIPE}


@pytest.mark.parametrize(
    ("stated", "published"),
    [(("MIT",), True), (("GPL-3.0-only",), False), (("GPL-3.0-only", "MIT"), True), (("GPL-2.0-only", "GPL-3.0-only"), False), ((), True)],
)
def test_one_licence_of_several_is_enough_to_try(stated: tuple[str, ...], published: bool) -> None:
    """Which of those that a recipe states holds for a build, only the build tells."""
    assert (unpublishable(stated, NO_GPL) == "") is published
    assert unpublishable(stated, Licenses()) == ""


def test_without_any_licence_it_goes_by_what_is_said_of_that() -> None:
    assert unpublishable((), Licenses(deny=("UNKNOWN",)))
