"""Tags, places and manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, UsageError
from cachelib.model.oci import (
    ImageManifest,
    LayoutLocation,
    RawManifest,
    RegistryLocation,
    check_tag,
    is_spec_tag,
    parse_location,
    spec_tag,
)

HASH = "bmaawsntgnc5rlsjkvuy7kezi6j4uij4"


def test_tags_are_spacks() -> None:
    assert spec_tag("hdf5", "1.14.5", HASH) == f"hdf5-1.14.5-{HASH}.spack"
    assert spec_tag("x", "git.feature/a=1.0", HASH) == f"x-git.feature_a_1.0-{HASH}.spack"
    long = spec_tag("x" * 120, "1", HASH)
    assert (len(long), long[:64], long[-6:]) == (128, "x" * 64, ".spack")


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_gives_a_tag_or_is_refused(name: str, version: str) -> None:
    tag = spec_tag(name, version, HASH)
    assert len(tag) <= 128
    assert is_spec_tag(tag)
    if not tag.startswith((".", "-")):
        check_tag(tag)


def test_our_tags_are_no_specs() -> None:
    assert not is_spec_tag("index.spack")
    assert not is_spec_tag("catalog")


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("oci://ghcr.io/Owner/Repo", RegistryLocation(host="ghcr.io", repository="owner/repo")),
        ("oci+http://127.0.0.1:5000/a", RegistryLocation(host="127.0.0.1:5000", repository="a", plain_http=True)),
        ("oci://[::1]:5000/a/b-c/d__e", RegistryLocation(host="[::1]:5000", repository="a/b-c/d__e")),
        ("oci-layout:var/registry", LayoutLocation(path=Path("/f/var/registry"))),
        ("oci-layout:/abs/../x", LayoutLocation(path=Path("/x"))),
    ],
)
def test_places(text: str, location: object) -> None:
    assert parse_location(text, folder=Path("/f")) == location


@pytest.mark.parametrize(
    "text",
    ["", "ghcr.io/a/b", "oci://", "oci://ghcr.io", "oci://ghcr.io/", "oci://ghcr.io/a:tag", "oci://u:p@ghcr.io/a", "oci://ghcr.io/a b",
     "oci://ghcr.io/../x", "oci://ghcr.io/a//b", "oci-layout:", "oci-layout:a\0b", "https://x/y", "oci://-x/y", "oci://ghcr.io/" + "a" * 300],
)  # fmt: skip
def test_no_places(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_location(text, folder=Path())
    assert caught.value.hint


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"layers": 1}', b'{"layers": [], "config": {}}', b'{"layers": [{"digest": "sha256:x"}], "config": {}}', b"[" * 100_000,
     json.dumps({"manifests": []}).encode(), b'{"layers": [], "config": {"digest": "md5:1", "size": 1}}', b"\xff"],
)  # fmt: skip
def test_no_manifests(data: bytes) -> None:
    with pytest.raises(FormatError):
        ImageManifest.parse(RawManifest(media_type="", data=data))


@pytest.mark.parametrize(
    "text", ["sha256:" + "A" * 64, "sha256:abc", "md5:" + "a" * 32, None, 5, "sha256:" + "a" * 64 + "\n", "../" + "a" * 64]
)
def test_no_digests(text: object) -> None:
    with pytest.raises(FormatError):
        Digest.parse(text)
