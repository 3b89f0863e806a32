"""The faults themselves, at the double and before a real registry: what is temporary is survived, what is wrong is noticed."""

from __future__ import annotations

import io
import re
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from cachelib.model.digest import Digest
from cachelib.model.errors import RegistryError
from cachelib.model.oci import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, ImageManifest, RawManifest, RegistryLocation
from cachelib.model.outcome import Pushed
from cachelib.steps.verifying import verify
from cachelib.tools.registry import RegistryRepository
from tests.conftest import need
from tests.contract.test_road import index, push_all
from tests.support.certificates import Certificates
from tests.support.docker_registry import Server, running
from tests.support.double import RegistryDouble
from tests.support.faults import TEMPORARY, WRONG, Fault, FaultPlan, Kind, RateLimiter, TokenDesk
from tests.support.mirrors import add_chain
from tests.support.proxy import delay_proxy, fault_proxy
from tests.support.quiet import QuietProgress

PROJECT = Path(__file__).resolve().parents[2]
DATA = bytes(range(256)) * 20_000
ROUND_TRIP = 0.1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real registry for all of these; each test has a repository of its own."""
    need("docker-registry")
    with running(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository that no other test has."""
    return "t/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


@pytest.fixture
def impatient(double: RegistryDouble) -> None:
    """How long the client waits is `double`'s to switch off: that fixture alone knows how."""


def repository(host: str, name: str, *, tls: bool = False) -> RegistryRepository:
    return RegistryRepository(RegistryLocation(host=host, repository=name, plain_http=not tls), None)


def put(one: RegistryRepository, data: bytes, media_type: str = LAYER_GZIP) -> Descriptor:
    descriptor = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    one.put_blob(descriptor, lambda: io.BytesIO(data))
    return descriptor


def put_image(one: RegistryRepository, *tags: str) -> RawManifest:
    manifest = ImageManifest(media_type=MANIFEST, config=put(one, b"{}", CONFIG), layers=(put(one, DATA),), annotations={}).raw()
    for tag in tags:
        one.put_manifest(manifest, tag)
    return manifest


def seen(host: str, name: str, digest: str) -> str:
    """What somebody sees who asks once for v1: how the connection ended, or what was answered."""
    try:
        answer = requests.get(f"http://{host}/v2/{name}/manifests/v1", headers={"Accept": MANIFEST}, timeout=10)
    except requests.RequestException as error:
        return next(words for words in ("reset by peer", "without response", "IncompleteRead") if words in str(error))
    if answer.status_code == 200:
        said = f"{Digest.of(answer.content)} told as {answer.headers['Docker-Content-Digest']}"
        return re.sub(r"sha256:(?!0{64})\w+", "other bytes", said.replace(digest, "v1"))
    (refusal,) = answer.json()["errors"]
    headers = "".join(f" {answer.headers[key]}" for key in ("Retry-After", "Www-Authenticate") if key in answer.headers)
    return f"{answer.status_code} {refusal['code']} {refusal['message']}{headers}".replace(host, "HOST")


EXPECTED = {
    Kind.STATUS: "503 UNKNOWN out of order",
    Kind.LIMIT: "429 TOOMANYREQUESTS slow down 1",
    Kind.GHCR_LIMIT: "429 TOOMANYREQUESTS retry-after: 226.5ms, allowed: 2000/minute",
    Kind.SECONDARY_LIMIT: "403 DENIED You have exceeded a secondary rate limit",
    Kind.MISSING: "404 MANIFEST_UNKNOWN gone",
    Kind.EXPIRED: '401 UNAUTHORIZED the token is missing or has expired Bearer realm="http://HOST/token",service="HOST"',
    Kind.RESET: "reset by peer",
    Kind.LOST: "without response",
    Kind.TRUNCATE: "IncompleteRead",
    Kind.CORRUPT: "other bytes told as v1",
    Kind.WRONG_DIGEST: f"v1 told as {WRONG}",
    Kind.SLOW: "v1 told as v1",
}


def test_each_kind_is_expected_to_look_like_something() -> None:
    assert set(EXPECTED) == set(Kind)


@pytest.mark.parametrize("where", ["double", "proxy"])
@pytest.mark.parametrize("kind", EXPECTED)
def test_a_fault_is_the_same_everywhere(where: str, kind: Kind, name: str, double: RegistryDouble, request: pytest.FixtureRequest) -> None:
    fault = Fault("GET .*manifests/v1", kind, message="out of order", seconds=0.2265)
    target = double.host if where == "double" else request.getfixturevalue("server").host
    digest = str(put_image(repository(target, name), "v1").digest)
    double.faults.append(fault)
    with nullcontext(double) if where == "double" else fault_proxy(target, double.plan) as there:
        host = there.host
        start = time.monotonic()
        assert seen(host, name, digest) == EXPECTED[kind]
        took = time.monotonic() - start
        assert fault.times == 0
        # What has expired stays so until somebody asks for a token; all else is over.
        assert seen(host, name, digest) == (EXPECTED[kind] if kind == Kind.EXPIRED else "v1 told as v1")
    assert kind != Kind.SLOW or took >= 5 * fault.seconds


def test_a_kind_that_is_none() -> None:
    with pytest.raises(ValueError, match="tipo"):
        Fault(".", "tipo")


SURVIVED = [
    *(Fault(match, kind, seconds=0) for kind in TEMPORARY for match in (".", "PUT .*blobs", "PUT .*manifests")),
    *(Fault(".", kind, times=3, seconds=0) for kind in TEMPORARY if kind != Kind.EXPIRED),
    *(Fault(".", Kind.STATUS, status) for status in (500, 502, 504)),
    *(Fault("GET", kind, times=2) for kind in (Kind.TRUNCATE, Kind.SLOW)),
    Fault("/token", Kind.STATUS), Fault("/token", Kind.GHCR_LIMIT), Fault("/token", Kind.RESET), Fault("/token", Kind.LOST), Fault("/token", Kind.TRUNCATE),
]  # fmt: skip


@pytest.mark.parametrize("fault", SURVIVED, ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.match}-{fault.times}")
def test_the_whole_road_survives_it(server: Server, impatient: None, fault: Fault, name: str, tmp_path: Path) -> None:
    fault = Fault(fault.match, fault.kind, fault.status, fault.times, seconds=fault.seconds)
    add_chain(tmp_path, 2)
    plan = FaultPlan(faults=[fault], tokens=TokenDesk(required="token" in fault.match))
    with fault_proxy(server.host, plan, page=2) as proxy:
        outcomes = push_all(tmp_path, repository(proxy.host, name))
        assert {type(outcome) for outcome in outcomes.values()} == {Pushed}, outcomes
        index(repository(proxy.host, name))
    assert fault.times == 0, "the fault was never met"
    assert verify(repository(server.host, name), jobs=2, progress=QuietProgress()).findings == ()


@pytest.mark.parametrize("seed", range(3))
def test_the_whole_road_survives_a_fifth_of_all_requests(server: Server, impatient: None, seed: int, name: str, tmp_path: Path) -> None:
    add_chain(tmp_path, 6)
    plan = FaultPlan(share=0.2, seed=seed, seconds=0, only="/v2/")
    with fault_proxy(server.host, plan, page=4) as proxy:
        outcomes = push_all(tmp_path, repository(proxy.host, name))
        assert {type(outcome) for outcome in outcomes.values()} == {Pushed}, outcomes
        index(repository(proxy.host, name))
        assert verify(repository(proxy.host, name), jobs=4, progress=QuietProgress()).findings == ()
    assert len(plan.met) >= 5, plan.met
    assert 0.1 < plan.met.total() / len(proxy.requests) < 0.3


def test_the_same_seed_draws_the_same() -> None:
    def drawn(seed: int) -> list[str]:
        plan = FaultPlan(share=0.5, seed=seed, only="GET")
        assert plan.meet("PUT /") is None
        return [fault.kind if (fault := plan.meet(f"GET /{at}")) else "" for at in range(100)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_what_is_no_fair_game_is_not_drawn() -> None:
    plan = FaultPlan(share=1, kinds=(Kind.EXPIRED,))
    assert plan.meet("GET /token?service=x") is None
    assert plan.meet("GET /v2/") == Fault(".", Kind.EXPIRED)
    plan.tokens.issue()
    assert plan.meet("GET /v2/") is None
    plan = FaultPlan(share=1, kinds=(Kind.SECONDARY_LIMIT,))
    assert [plan.meet(request) for request in ("HEAD /", "GET /")] == [None, Fault(".", Kind.SECONDARY_LIMIT)]


@pytest.mark.parametrize(("kind", "times"), [(Kind.TRUNCATE, 2), (Kind.RESET, 2), (Kind.GHCR_LIMIT, 2), (Kind.SLOW, 1)])
def test_a_large_read_goes_on(server: Server, impatient: None, kind: Kind, times: int, name: str) -> None:
    descriptor = put(repository(server.host, name), DATA)
    plan = FaultPlan(faults=[Fault("GET .*blobs", kind, times=times, seconds=0)])
    with fault_proxy(server.host, plan) as proxy:
        assert repository(proxy.host, name).read_blob(descriptor) == DATA
    assert plan.met == {kind: times}
    # What had come before the break is not asked for again.
    assert proxy.bytes_out <= len(DATA) * 1.25 + 1024 * 1024


def test_a_corrupt_blob_is_noticed(server: Server, name: str) -> None:
    descriptor = put(repository(server.host, name), DATA)
    with (
        fault_proxy(server.host, FaultPlan(faults=[Fault("GET .*blobs", Kind.CORRUPT)])) as proxy,
        pytest.raises(RegistryError, match="other content") as caught,
    ):
        repository(proxy.host, name).read_blob(descriptor)
    assert not caught.value.temporary


@pytest.mark.parametrize("kind", [Kind.CORRUPT, Kind.WRONG_DIGEST])
def test_a_manifest_that_is_not_what_it_is_called_is_noticed(server: Server, kind: Kind, name: str) -> None:
    put_image(repository(server.host, name), "v1")
    with (
        fault_proxy(server.host, FaultPlan(faults=[Fault("GET .*manifests", kind)])) as proxy,
        pytest.raises(RegistryError, match="should be"),
    ):
        repository(proxy.host, name).manifest("v1")


def test_a_manifest_stored_under_another_digest_is_noticed(server: Server, name: str) -> None:
    manifest = put_image(repository(server.host, name))
    with (
        fault_proxy(server.host, FaultPlan(faults=[Fault("PUT .*manifests", Kind.WRONG_DIGEST)])) as proxy,
        pytest.raises(RegistryError, match=f"stored {manifest.digest} as {WRONG}"),
    ):
        repository(proxy.host, name).put_manifest(manifest, "v1")


def test_gone_between_list_and_get(server: Server, name: str) -> None:
    manifest = put_image(repository(server.host, name), "v1")
    with fault_proxy(server.host, FaultPlan(faults=[Fault("manifests/v1", Kind.MISSING)])) as proxy:
        one = repository(proxy.host, name)
        assert one.tags() == {"v1"}
        assert one.manifest("v1") is None
        assert one.manifest("v1") == manifest


def test_what_is_lost_was_done_and_what_is_reset_was_not(server: Server, name: str) -> None:
    manifest = put_image(repository(server.host, name))
    plan = FaultPlan(faults=[Fault("PUT .*/reset", Kind.RESET), Fault("PUT .*/lost", Kind.LOST)])
    with fault_proxy(server.host, plan) as proxy:
        for tag in ("reset", "lost"):
            url = f"http://{proxy.host}/v2/{name}/manifests/{tag}"
            with pytest.raises(requests.ConnectionError):
                requests.put(url, data=manifest.data, headers={"Content-Type": MANIFEST}, timeout=10)
    assert repository(server.host, name).tags() == {"lost"}


@pytest.mark.parametrize("good_for", [{"uses": 8}, {"seconds": 0.2}], ids=str)
def test_tokens_that_do_not_last(server: Server, good_for: dict[str, Any], name: str) -> None:
    desk = TokenDesk(**good_for)
    with fault_proxy(server.host, FaultPlan(tokens=desk)) as proxy:
        one = repository(proxy.host, name)
        for at in range(10):
            put(one, f"{at}".encode())
            time.sleep(0.05)
    # A new one is asked for when the one before it is no good any more, and not before.
    assert 3 <= desk.issued == desk.refused <= 12


def test_tokens_of_the_desk_stay_here(double: RegistryDouble) -> None:
    with fault_proxy(double.host, FaultPlan(tokens=TokenDesk())) as proxy:
        repository(proxy.host, "a/b").tags()
        assert proxy.plan.tokens.issued == 1
    assert double.authorizations == [""]


def test_a_list_in_pages_with_duplicates(server: Server, name: str) -> None:
    tags = {f"v{at:02}" for at in range(11)}
    put_image(repository(server.host, name), *tags)
    with fault_proxy(server.host, page=3) as proxy:
        assert repository(proxy.host, name).tags() == tags
        pages = [request for request in proxy.requests if "tags/list" in request]
        listed: list[str] = []
        for page in pages:
            listed += requests.get(f"http://{proxy.host}{page.split()[1]}", timeout=10).json()["tags"]
    assert len(pages) == 4
    assert sorted(listed) == sorted([*tags, "v03", "v06", "v09"])


def test_addresses_lead_to_the_proxy(server: Server, name: str) -> None:
    with fault_proxy(server.host) as proxy, delay_proxy(proxy.host, 0.0) as before:
        for host in (proxy.host, before.host):
            opened = requests.post(f"http://{host}/v2/{name}/blobs/uploads/", timeout=10)
            assert opened.headers["Location"].startswith(f"http://{host}/v2/")
            assert server.host not in str(opened.headers)
        put(repository(proxy.host, name), DATA)
    assert proxy.bytes_in == len(DATA)


def test_chunks_pass_both_ways(server: Server, name: str) -> None:
    with fault_proxy(server.host) as proxy:
        location = requests.post(f"http://{proxy.host}/v2/{name}/blobs/uploads/", timeout=10).headers["Location"]
        sent = requests.patch(
            location, data=iter([DATA[:100], DATA[100:]]), headers={"Content-Type": "application/octet-stream"}, timeout=10
        )
        assert (sent.status_code, sent.headers["Range"]) == (202, f"0-{len(DATA) - 1}")
        digest = Digest.of(DATA)
        done = requests.put(sent.headers["Location"], params={"digest": str(digest)}, timeout=10)
        assert done.status_code == 201
        put_image(repository(server.host, name), *(f"{at:0100}" for at in range(50)))
        listed = requests.get(f"http://{proxy.host}/v2/{name}/tags/list", timeout=10)
        # A list as long as this has no Content-Length.
        assert listed.headers.get("Transfer-Encoding") == "chunked"
        assert len(listed.json()["tags"]) == 50
        gone = requests.delete(f"http://{proxy.host}/v2/{name}/blobs/{digest}", timeout=10)
        assert gone.status_code == 202
    assert repository(server.host, name).tags() == set(listed.json()["tags"])


def test_nothing_is_held_whole(server: Server, name: str) -> None:
    data = DATA * 12
    descriptor = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(data), size=len(data))
    with fault_proxy(server.host) as proxy, delay_proxy(proxy.host, 0.0) as host:
        one = repository(host.host, name)
        tracemalloc.start()
        try:
            one.put_blob(descriptor, lambda: io.BytesIO(data))
            assert sum(map(len, one.stream_blob(descriptor))) == len(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # The delay's buffer is the largest of what is held.
    assert peak < len(data) / 2


def test_the_bucket_fills_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limiter = RateLimiter(600, 3)
    assert [limiter.take() for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    now += 0.05
    assert limiter.take() == pytest.approx(0.05)
    now += 0.051
    assert [limiter.take() > 0 for _ in range(2)] == [False, True]
    now += 60
    assert [limiter.take() > 0 for _ in range(4)] == [False, False, False, True]


def test_the_limit_limits(server: Server) -> None:
    with fault_proxy(server.host, requests_per_minute=1200, burst=5) as proxy, requests.Session() as session:
        start = time.monotonic()
        answers = [session.get(f"http://{proxy.host}/v2/", timeout=10) for _ in range(100)]
        passed = sum(1 for answer in answers if answer.status_code == 200)
        assert 5 <= passed <= 5 + 20 * (time.monotonic() - start) + 1
        assert proxy.refused == 100 - passed > 0
    said = next(answer for answer in answers if answer.status_code == 429)
    assert re.fullmatch(r"retry-after: [\d.]+ms, allowed: 1200/minute", said.json()["errors"][0]["message"])
    assert "Retry-After" not in said.headers


def test_a_push_past_the_limit_waits_and_arrives(server: Server, name: str, tmp_path: Path) -> None:
    add_chain(tmp_path, 4)
    with fault_proxy(server.host, requests_per_minute=1200, burst=5) as proxy:
        start = time.monotonic()
        outcomes = push_all(tmp_path, repository(proxy.host, name))
        took = time.monotonic() - start
    assert {type(outcome) for outcome in outcomes.values()} == {Pushed}, outcomes
    assert proxy.refused > 0
    assert took >= (len(proxy.requests) - proxy.refused - 6) / 20


def test_latency_is_for_each_request(server: Server) -> None:
    with fault_proxy(server.host, latency=0.05) as proxy, requests.Session() as session:
        start = time.monotonic()
        for _ in range(5):
            session.get(f"http://{proxy.host}/v2/", timeout=10)
        assert time.monotonic() - start >= 0.25


def timed(host: str, times: int) -> float:
    """Seconds for requests one after the other over one connection."""
    with requests.Session() as session:
        start = time.monotonic()
        for _ in range(times):
            assert session.get(f"http://{host}/v2/", timeout=10).status_code == 200
        return time.monotonic() - start


def test_a_longer_road_takes_longer(server: Server) -> None:
    with delay_proxy(server.host, ROUND_TRIP) as road:
        # One for the connection, one for each request.
        assert 6 * ROUND_TRIP <= timed(road.host, 5) < 12 * ROUND_TRIP
    assert road.connections == 1


def test_a_longer_road_is_as_wide(server: Server, name: str) -> None:
    with delay_proxy(server.host, ROUND_TRIP) as road, ThreadPoolExecutor(100) as threads:
        start = time.monotonic()
        alone = list(threads.map(lambda _: timed(road.host, 2), range(100)))
        together = time.monotonic() - start
        assert min(alone) >= 3 * ROUND_TRIP
        assert together < 100 * 3 * ROUND_TRIP / 5
        assert road.connections == 100
        data = DATA * 8
        start = time.monotonic()
        descriptor = put(repository(road.host, name), data)
        # Were each block waited for, it would be one round trip for each 64 KiB.
        assert time.monotonic() - start < len(data) / 65536 * ROUND_TRIP / 5
        assert repository(road.host, name).read_blob(descriptor, limit=len(data)) == data


def test_what_is_under_way_does_not_wait_for_each_other() -> None:
    pieces = [b"%03d" % at for at in range(60)]
    with socket.create_server(("127.0.0.1", 0)) as listener, delay_proxy(f"127.0.0.1:{listener.getsockname()[1]}", ROUND_TRIP) as road:
        listener.settimeout(5)
        start = time.monotonic()
        with connected(road.host) as near:
            for piece in pieces:
                near.sendall(piece)
                time.sleep(0.005)
        far, _ = listener.accept()
        with far, far.makefile("rb") as arrived:
            assert arrived.read() == b"".join(pieces)
    # One after the other they would take half a round trip each.
    assert time.monotonic() - start < len(pieces) * ROUND_TRIP / 4


def test_tls_takes_the_longer_road(certificates: Certificates, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("docker-registry")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    with running(tmp_path, certificates=certificates) as far, delay_proxy(far.host, ROUND_TRIP) as road:
        start = time.monotonic()
        manifest = put_image(repository(road.host, name, tls=True), "v1")
        # A connection, a handshake, and at the least one request for each of a config, a layer and a manifest.
        assert time.monotonic() - start >= 5 * ROUND_TRIP
        assert repository(far.host, name, tls=True).manifest("v1") == manifest


def test_ends_take_the_longer_road_too(server: Server) -> None:
    plan = FaultPlan(faults=[Fault(".", Kind.RESET), Fault(".", Kind.TRUNCATE)])
    with fault_proxy(server.host, plan) as proxy, delay_proxy(proxy.host, ROUND_TRIP) as road:
        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            requests.get(f"http://{road.host}/v2/", timeout=10)
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            requests.get(f"http://{road.host}/v2/", timeout=10)


def test_what_breaks_off_before_a_proxy_breaks_off_behind_it(server: Server, name: str) -> None:
    digest = str(put_image(repository(server.host, name), "v1").digest)
    plan = FaultPlan(faults=[Fault(".", Kind.TRUNCATE), Fault(".", Kind.LOST), Fault(".", Kind.RESET)])
    with fault_proxy(server.host, plan) as far, fault_proxy(far.host) as near:
        assert [seen(near.host, name, digest) for _ in range(4)] == [
            "IncompleteRead",
            "without response",
            "without response",
            "v1 told as v1",
        ]


def connected(host: str) -> socket.socket:
    address, port = host.split(":")
    return socket.create_connection((address, int(port)), timeout=5)


def test_a_client_that_asks_may_go_on(double: RegistryDouble) -> None:
    with fault_proxy(double.host) as proxy, connected(proxy.host) as near:
        near.sendall(b"PUT /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert near.recv(4096).startswith(b"HTTP/1.1 100 ")
        near.sendall(b"abc")
        assert near.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_connections_end_with_the_server(double: RegistryDouble) -> None:
    with fault_proxy(double.host) as proxy, delay_proxy(double.host, 0.0) as road:
        left = [connected(proxy.host), connected(road.host)]
        for near in left:
            near.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert near.recv(4096).startswith(b"HTTP/1.1 200 ")
    for near in left:
        with near, suppress(ConnectionResetError):
            assert near.recv(4096) == b""


def hasty(listener: socket.socket) -> None:
    """Be a registry that refuses a body before it has read it, twice, and closes."""
    for _ in range(2):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            time.sleep(0.1)


def test_an_early_refusal_of_a_large_body_arrives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        listener.settimeout(5)
        done = threads.submit(hasty, listener)
        with fault_proxy(f"127.0.0.1:{listener.getsockname()[1]}") as proxy, requests.Session() as session:
            for _ in range(2):  # over one connection: nothing of the first body is taken for a request
                assert session.put(f"http://{proxy.host}/v2/x", data=DATA * 4, timeout=10).status_code == 413
        done.result()
    assert proxy.requests == ["PUT /v2/x"] * 2
    assert proxy.bytes_in == 2 * 4 * len(DATA)


def test_nobody_at_the_end_of_the_road(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with fault_proxy(f"127.0.0.1:{port}") as proxy, delay_proxy(f"127.0.0.1:{port}", 0.0) as road:
            for host in (proxy.host, road.host):
                with pytest.raises(requests.ConnectionError):
                    requests.get(f"http://{host}/v2/", timeout=10)
    # That one goes away is what these servers are for, and worth no traceback.
    assert capsys.readouterr().err == ""


def test_from_the_command_line(server: Server) -> None:
    options = ["--target", server.host, "--round-trip", str(ROUND_TRIP), "--share", "1", "--kinds", "missing", "--only", "tags"]
    command = [sys.executable, "-m", "tests.support.proxy", *options]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        host = process.stdout.readline().strip()
        try:
            assert timed(host, 1) >= 2 * ROUND_TRIP
            assert requests.get(f"http://{host}/v2/x/tags/list", timeout=10).json()["errors"][0]["message"] == "gone"
            # Not SIGINT: a shell has what it runs in the background ignore that.
            process.terminate()
            assert process.wait(10) == 0
        finally:
            process.kill()
