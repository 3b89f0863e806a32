"""What every repository promises."""

from __future__ import annotations

import io
import json

import pytest

from cachelib.model.digest import Digest
from cachelib.model.errors import RegistryError
from cachelib.model.oci import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, ImageManifest, RawManifest
from cachelib.model.ports import Repository
from tests.contract.conftest import Opener


def put(repository: Repository, data: bytes, media_type: str = LAYER_GZIP) -> Descriptor:
    descriptor = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    repository.put_blob(descriptor, lambda: io.BytesIO(data))
    return descriptor


def image(repository: Repository, *layers: bytes) -> RawManifest:
    config = put(repository, json.dumps({"layers": len(layers)}).encode(), CONFIG)
    described = tuple(put(repository, layer) for layer in layers)
    return ImageManifest(media_type=MANIFEST, config=config, layers=described, annotations={"a": "ü"}).raw()


def test_empty(open_repository: Opener) -> None:
    repository = open_repository()
    assert repository.tags() == frozenset()
    assert repository.manifest("nothing") is None
    assert repository.manifest(str(Digest.of(b"nothing"))) is None


def test_what_was_put_is_there_for_others(open_repository: Opener) -> None:
    repository = open_repository()
    layer = bytes(range(256)) * 9000  # more than one block
    manifest = image(repository, layer)
    repository.put_manifest(manifest, "zlib-1.3-abc.spack")
    repository.flush()

    other = open_repository()
    assert other.tags() == {"zlib-1.3-abc.spack"}
    assert other.manifest("zlib-1.3-abc.spack") == manifest
    assert other.manifest(str(manifest.digest)) == manifest
    (described,) = ImageManifest.parse(manifest).layers
    assert other.read_blob(described) == layer


def test_a_blob_is_sent_once(open_repository: Opener) -> None:
    repository = open_repository()
    data = b"the same bytes"
    descriptor = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(data), size=len(data))
    assert repository.put_blob(descriptor, lambda: io.BytesIO(data)) == len(data)
    assert open_repository().put_blob(descriptor, lambda: io.BytesIO(data)) == 0


def test_an_empty_blob(open_repository: Opener) -> None:
    repository = open_repository()
    descriptor = put(repository, b"")
    assert repository.read_blob(descriptor) == b""


def test_a_blob_of_other_content_is_refused(open_repository: Opener) -> None:
    repository = open_repository()
    descriptor = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(b"promised"), size=len(b"promised"))
    with pytest.raises(RegistryError):
        repository.put_blob(descriptor, lambda: io.BytesIO(b"modified"))
    with pytest.raises(RegistryError):
        repository.read_blob(descriptor)


def test_a_missing_blob_is_an_error_that_names_it(open_repository: Opener) -> None:
    descriptor = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(b"missing"), size=7)
    with pytest.raises(RegistryError, match=descriptor.digest.hex) as caught:
        open_repository().read_blob(descriptor)
    assert caught.value.status == 404


def test_a_wrong_size_is_noticed(open_repository: Opener) -> None:
    repository = open_repository()
    good = put(repository, b"some bytes")
    for size in (good.size - 1, good.size + 1):
        with pytest.raises(RegistryError, match="other content"):
            repository.read_blob(Descriptor(media_type=LAYER_GZIP, digest=good.digest, size=size))


def test_a_tag_moves(open_repository: Opener) -> None:
    repository = open_repository()
    first, second = image(repository, b"one"), image(repository, b"one", b"two")
    repository.put_manifest(first, "index.spack")
    repository.put_manifest(second, "index.spack")
    repository.flush()
    assert open_repository().manifest("index.spack") == second
    assert open_repository().manifest(str(first.digest)) == first


def test_many_tags(open_repository: Opener) -> None:
    repository = open_repository()
    manifest = image(repository, b"layer")
    tags = {f"p-1.{at}-abc.spack" for at in range(12)}
    for tag in tags:
        repository.put_manifest(manifest, tag)
    repository.flush()
    assert open_repository().tags() == tags


def test_a_manifest_without_a_tag(open_repository: Opener) -> None:
    repository = open_repository()
    manifest = image(repository, b"layer")
    repository.put_manifest(manifest, None)
    repository.flush()
    assert open_repository().manifest(str(manifest.digest)) == manifest
    assert open_repository().tags() == frozenset()


@pytest.mark.parametrize("tag", ["../../etc/passwd", "a b", " ", "-x", "a" * 129, "a\nb", "ä"])
def test_a_hostile_tag_is_refused(open_repository: Opener, tag: str) -> None:
    repository = open_repository()
    with pytest.raises(Exception, match="not a tag"):
        repository.manifest(tag)
