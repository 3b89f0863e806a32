"""A registry that fails in every way it can: what is temporary is tried again, what isn't is told, nothing is half there."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cachelib.model.digest import Digest
from cachelib.model.errors import RegistryError
from cachelib.model.oci import LAYER_GZIP, Descriptor, RegistryLocation
from cachelib.model.outcome import NotPushed, Pushed
from cachelib.steps.verifying import verify
from cachelib.tools import registry
from cachelib.tools.credentials import Credentials
from cachelib.tools.registry import RegistryRepository
from tests.contract.test_road import index, push_all
from tests.support.double import Fault, RegistryDouble, serving_double
from tests.support.mirrors import add_chain
from tests.support.quiet import QuietProgress

DATA = bytes(range(256)) * 20_000


def repository(double: RegistryDouble, credentials: Credentials | None = None) -> RegistryRepository:
    return RegistryRepository(RegistryLocation(host=double.host, repository="a/b", plain_http=True), credentials)


def stored(double: RegistryDouble) -> Descriptor:
    digest = Digest.of(DATA)
    double.blobs[str(digest)] = DATA
    return Descriptor(media_type=LAYER_GZIP, digest=digest, size=len(DATA))


TEMPORARY = [
    Fault(".", "status", 500, 2), Fault(".", "status", 502, 2), Fault(".", "status", 503, 2), Fault(".", "status", 504, 2),
    Fault(".", "status", 429, 2, {"Retry-After": "0"}), Fault(".", "status", 403, 1, message="You have exceeded a secondary rate limit"),
    Fault(".", "reset", times=2), Fault("PUT .*blobs", "status", 404, 1, code="BLOB_UPLOAD_UNKNOWN"), Fault("PUT .*blobs", "reset"),
    Fault("PUT .*blobs", "lost"), Fault("POST", "lost"), Fault("PUT .*manifests", "lost", times=2),
    Fault("PUT .*manifests", "status", 400, 1, code="MANIFEST_BLOB_UNKNOWN"), Fault("PUT .*manifests", "status", 404, 2, code="BLOB_UNKNOWN"),
    Fault("PUT .*manifests", "status", 400, 1, body=json.dumps({"errors": [{"code": "NAME_INVALID"}, {"code": "MANIFEST_BLOB_UNKNOWN"}]}).encode()),
    Fault("PUT .*manifests", "status", 400, 1, body=b'{"errors": [{"message": "unknown blob"}]}'),
    Fault("POST", "status", 503), Fault("tags", "truncate"),
]  # fmt: skip


@pytest.mark.parametrize("fault", TEMPORARY, ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.match}-{fault.code}")
def test_a_push_outlives_what_is_temporary(double: RegistryDouble, fault: Fault, tmp_path: Path) -> None:
    fault = replace(fault)
    add_chain(tmp_path, 3)
    double.faults.append(fault)
    outcomes = push_all(tmp_path, repository(double))
    assert {type(outcome) for outcome in outcomes.values()} == {Pushed}, outcomes
    assert fault.times == 0 or fault.match == "tags", "the fault was never met"
    index(repository(double))
    assert verify(repository(double), jobs=2, progress=QuietProgress()).findings == ()


@pytest.mark.parametrize("kind", ["truncate", "reset", "slow"])
def test_a_read_goes_on_where_it_broke_off(double: RegistryDouble, kind: str) -> None:
    descriptor = stored(double)
    double.faults.append(Fault("GET .*blobs", kind))
    assert repository(double).read_blob(descriptor) == DATA


def test_a_corrupt_read_is_noticed(double: RegistryDouble) -> None:
    descriptor = stored(double)
    double.faults.append(Fault("GET .*blobs", "corrupt"))
    given = bytearray()

    def read() -> None:
        for piece in repository(double).stream_blob(descriptor):
            given.extend(piece)

    with pytest.raises(RegistryError, match="other content"):
        read()
    assert len(given) < len(DATA), "the end was given away before it was checked"


def test_a_corrupt_manifest_is_noticed(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 1)
    push_all(tmp_path, repository(double))
    (tag,) = double.tags
    for reference in (tag, double.tags[tag]):
        double.faults.append(Fault("GET .*manifests", "corrupt"))
        with pytest.raises(RegistryError, match="should be"):
            repository(double).manifest(reference)


def test_what_is_final_is_not_tried_again(double: RegistryDouble) -> None:
    for status, code in ((400, "DIGEST_INVALID"), (403, "DENIED"), (413, "SIZE_INVALID")):
        double.requests.clear()
        double.faults[:] = [Fault("POST", "status", status, 99, code=code, message="no way")]
        with pytest.raises(RegistryError, match=f"{status} {code} no way") as caught:
            repository(double).put_blob(Descriptor(media_type=LAYER_GZIP, digest=Digest.of(b"x"), size=1), lambda: io.BytesIO(b"x"))
        assert not caught.value.temporary
        # A registry that doesn't know mounts may answer 400 to one: once it is asked without.
        assert double.count("POST") == (2 if status == 400 else 1)


def test_it_gives_up_in_the_end(double: RegistryDouble) -> None:
    double.faults.append(Fault(".", "status", 503, 1000))
    with pytest.raises(RegistryError, match="503"):
        repository(double).tags()
    assert double.count("tags") == registry.ATTEMPTS


def test_one_that_does_not_answer_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_backoff", lambda state: 0.0)
    with serving_double() as gone:
        pass
    with pytest.raises(RegistryError, match="tags/list") as caught:
        repository(gone).tags()
    assert caught.value.hint


def test_it_waits_as_long_as_it_is_asked(double: RegistryDouble) -> None:
    double.faults.append(Fault("tags", "status", 429, 1, {"Retry-After": "0.4"}))
    start = time.monotonic()
    repository(double).tags()
    assert time.monotonic() - start >= 0.4


def test_a_manifest_that_is_gone_between_list_and_get(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 3)
    push_all(tmp_path, repository(double))
    double.faults.append(Fault("GET .*manifests/part1", "status", 404, 1, code="MANIFEST_UNKNOWN"))
    indexed = index(repository(double))
    assert [warning.reason for warning in indexed.warnings] == ["its manifest is missing"]
    assert indexed.count == 2
    # It was there after all: the next run has it.
    assert index(repository(double)).count == 3


def test_a_layer_that_can_not_be_sent_leaves_no_tag(double: RegistryDouble, tmp_path: Path) -> None:
    nodes = add_chain(tmp_path, 2)
    double.faults.append(Fault("PUT .*blobs", "status", 400, 99, code="DIGEST_INVALID"))
    outcomes = push_all(tmp_path, repository(double))
    assert {type(outcomes[node["hash"]]) for node in nodes} == {NotPushed}
    assert double.tags == {}
    assert double.count("PUT .*manifests") == 0


def test_few_requests_for_each_new_spec(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 10)
    push_all(tmp_path, repository(double))
    # POST and PUT of a layer, the same of a config, PUT of a manifest; and the tag list.
    assert len(double.requests) == 5 * 10 + 1
    double.requests.clear()
    push_all(tmp_path, repository(double))
    assert double.requests == ["GET /v2/a/b/tags/list?n=1000"]


def test_an_index_fetches_only_what_is_new(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path / "a", 10)
    push_all(tmp_path / "a", repository(double))
    index(repository(double))
    add_chain(tmp_path / "b", 12)
    push_all(tmp_path / "b", repository(double))
    double.requests.clear()
    assert len(index(repository(double)).added) == 2
    assert double.count("GET .*manifests/part") == 2


def test_no_password_in_errors_or_addresses(double: RegistryDouble, capsys: pytest.CaptureFixture[str]) -> None:
    secret = Credentials(username="me", password="s3cret-t0ken", source="x")
    double.faults.append(Fault("PUT", "status", 403, 99, code="DENIED"))
    with pytest.raises(RegistryError) as caught:
        repository(double, secret).put_blob(Descriptor(media_type=LAYER_GZIP, digest=Digest.of(b"x"), size=1), lambda: io.BytesIO(b"x"))
    said = f"{caught.value.message} {caught.value.hint} {secret!r} {json.dumps(double.requests)}" + "".join(capsys.readouterr())
    assert "s3cret" not in said
    assert "secret-state" not in caught.value.message
