"""GitHub's packages as cachelib/tools/github_packages.py sees them: listed whole, deleted patiently, and no token told."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cachelib.model.digest import Digest
from cachelib.model.errors import RegistryError
from cachelib.model.oci import RawManifest, RegistryLocation
from cachelib.tools.github_packages import GitHubPackages, PackageVersion
from cachelib.tools.github_rest import ATTEMPTS
from cachelib.tools.registry import RegistryRepository
from tests.support.certificates import Certificates
from tests.support.double import Fault, RegistryDouble
from tests.support.github_api import DOWNLOADS, LAST, LAST_TAGGED, SECONDARY, GitHubDouble, Limit, serving_github
from tests.support.tokens import issuing

TOKEN = "ghs_s3cretT0ken"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Visitor:
    """A client that says nothing aloud and never sleeps, but remembers both."""

    def __init__(self, github: GitHubDouble, *, api: str = "", token: str = TOKEN, per_second: float = math.inf) -> None:
        self.said: list[str] = []
        self.pauses: list[float] = []
        self.packages = GitHubPackages(
            api or github.url, github.owner, github.package, token, say=self.said.append, pause=self.pauses.append, per_second=per_second
        )

    def versions(self) -> list[PackageVersion]:
        return list(self.packages.versions())

    def refused(self, version: PackageVersion | None = None) -> RegistryError:
        """The error of a delete, or of listing; it tells no token, nor does what is said."""
        with pytest.raises(RegistryError) as caught:
            self.packages.delete(version) if version else self.versions()
        error = caught.value
        assert not [text for text in (str(error), error.hint, repr(error.__cause__), *self.said) if TOKEN in text]
        assert error.__suppress_context__ or error.__context__ is None or TOKEN not in repr(error.__context__)
        return error


@pytest.fixture
def github() -> Iterator[GitHubDouble]:
    with serving_github(RegistryDouble()) as github:
        github.token = TOKEN
        yield github


def push(github: GitHubDouble, number: int, *tags: str) -> str:
    """Store a manifest; GitHub learns of it at once."""
    data = b'{"number": %d}' % number
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    github.registry.manifests[digest] = (MANIFEST, data)
    github.registry.tags |= dict.fromkeys(tags, digest)
    github.entry(digest)
    return digest


def fill(github: GitHubDouble, count: int) -> list[str]:
    """Store so many tagged manifests; give their digests, newest first."""
    return [push(github, number, f"tag-{number}") for number in range(count)][::-1]


def digests(versions: list[PackageVersion]) -> list[str]:
    return [str(version.digest) for version in versions]


def test_versions_are_what_github_knows_of_manifests(github: GitHubDouble) -> None:
    old, new = push(github, 1), push(github, 2, "latest", "2")
    github.entries[old].updated = "2026-02-03T04:05:06Z"
    assert Visitor(github).versions() == [
        PackageVersion(
            id=1000002, digest=Digest.parse(new), tags=("2", "latest"), created="2026-01-01T00:02:00Z", updated="2026-01-01T00:02:00Z"
        ),
        PackageVersion(id=1000001, digest=Digest.parse(old), tags=(), created="2026-01-01T00:01:00Z", updated="2026-02-03T04:05:06Z"),
    ]


def test_requests_carry_what_github_asks_for(github: GitHubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    fill(github, 2)
    visitor = Visitor(github)
    visitor.packages.delete(visitor.versions()[0])
    assert github.requests == [
        "GET /orgs/eurohpc/packages/container/hub%2Fcache/versions?per_page=100",
        "DELETE /orgs/eurohpc/packages/container/hub%2Fcache/versions/1000002",
    ]
    for headers in github.headers:
        asked = {key: headers[key] for key in ("Authorization", "Accept", "X-GitHub-Api-Version", "User-Agent")}
        assert asked == {
            "Authorization": f"Bearer {TOKEN}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "spack-build-cache",
        }


@pytest.mark.parametrize("kind", ["org", "user"])
@pytest.mark.parametrize("count", [1, 100, 101, 250])
def test_all_pages_are_followed(github: GitHubDouble, kind: str, count: int) -> None:
    github.kind = kind
    expected = fill(github, count)
    assert digests(Visitor(github).versions()) == expected
    assert github.count("GET") == math.ceil(count / 100) + (kind == "user")


def test_what_the_owner_is_is_asked_once(github: GitHubDouble) -> None:
    github.kind = "user"
    fill(github, 3)
    visitor = Visitor(github)
    oldest = visitor.versions()[-1]
    visitor.packages.delete(oldest)
    assert len(visitor.versions()) == 2
    assert [request.split("/packages")[0] for request in github.requests] == [
        "GET /orgs/eurohpc", "GET /users/eurohpc", "DELETE /users/eurohpc", "GET /users/eurohpc",
    ]  # fmt: skip
    Visitor(github).packages.delete(oldest)  # a new one deletes without having listed
    assert github.count("^GET /orgs") == 2


def test_a_push_while_listing_shows_nothing_twice_and_hides_nothing(github: GitHubDouble) -> None:
    there = fill(github, 150)
    listing = Visitor(github).packages.versions()
    first = [next(listing) for _ in range(100)]
    for number in range(1000, 1010):
        push(github, number)
    assert digests([*first, *listing]) == there
    assert github.count("GET") == 2


def test_what_is_no_manifest_is_left_out(github: GitHubDouble) -> None:
    (digest,) = fill(github, 1)
    github.foreign = [{"id": 1, "name": "1.0.0", "metadata": {"package_type": "npm"}}]
    assert digests(Visitor(github).versions()) == [digest]


@pytest.mark.parametrize(
    "lack",
    [
        {"metadata": {}}, {"metadata": {"container": {}}}, {"metadata": {"container": {"tags": None}}}, {"created_at": None}, {"id": "1"},
    ],
    ids=str,
)  # fmt: skip
def test_a_version_that_is_not_understood_is_not_taken_for_untagged(github: GitHubDouble, lack: dict[str, object]) -> None:
    whole = {"id": 1, "name": "sha256:" + "0" * 64, "created_at": "", "updated_at": "", "metadata": {"container": {"tags": []}}}
    github.foreign = [whole]
    assert [version.tags for version in Visitor(github).versions()] == [()]
    github.foreign = [{**whole, **lack}]
    assert "no list of versions" in Visitor(github).refused().message


@pytest.mark.parametrize("body", [b"{}", b'""', b"", b'{"message": "Hello"}', b"[" * 100_000, b"[[]]"], ids=lambda body: repr(body[:9]))
def test_an_answer_that_is_no_list_is_not_taken_for_an_empty_one(github: GitHubDouble, body: bytes) -> None:
    github.faults = [Fault("GET", "status", 200, body=body)]
    assert "no list of versions" in Visitor(github).refused().message


@pytest.mark.parametrize("kind", ["org", "user"])
def test_no_package_is_an_error_and_not_an_empty_list(github: GitHubDouble, kind: str) -> None:
    github.kind = kind
    error = Visitor(github).refused()
    assert (error.status, error.temporary) == (404, False)
    assert "eurohpc/hub/cache" in error.message
    assert "may this token see it" in error.hint


def test_what_is_deleted_is_gone_from_the_registry(double: RegistryDouble) -> None:
    repository = RegistryRepository(RegistryLocation(host=double.host, repository="eurohpc/hub/cache", plain_http=True), None)
    manifests = [RawManifest(media_type=MANIFEST, data=b'{"number": %d}' % number) for number in range(3)]
    for number, manifest in enumerate(manifests):
        repository.put_manifest(manifest, f"tag-{number}")
    repository.put_manifest(manifests[1], "another")
    with serving_github(double) as github:
        packages = Visitor(github).packages
        (version,) = (version for version in packages.versions() if version.digest == manifests[1].digest)
        assert version.tags == ("another", "tag-1")
        packages.delete(version)
        assert repository.tags() == {"tag-0", "tag-2"}
        assert set(double.manifests) == {str(manifests[0].digest), str(manifests[2].digest)}
        assert github.deleted == [str(manifests[1].digest)]


def test_deleting_what_is_gone_is_fine(github: GitHubDouble) -> None:
    fill(github, 3)
    visitor = Visitor(github)
    version = visitor.versions()[1]
    visitor.packages.delete(version)
    visitor.packages.delete(version)
    assert (len(github.deleted), github.count("DELETE"), visitor.pauses) == (1, 2, [])


def test_a_404_for_what_is_still_there_is_no_success(github: GitHubDouble) -> None:
    fill(github, 3)
    github.role = "hidden"
    visitor = Visitor(github)
    error = visitor.refused(visitor.versions()[0])
    assert (error.status, error.temporary, visitor.pauses) == (404, False, [])
    assert "still there" in error.message
    assert "Admin role" in error.hint
    assert len(github.registry.manifests) == 3


def test_deleting_goes_on_where_it_was_stopped(github: GitHubDouble) -> None:
    oldest = fill(github, 130)[-1]
    stopped, count = Visitor(github), 0

    def stop(_: float) -> None:
        nonlocal count
        count += 1
        if count == 40:
            raise KeyboardInterrupt

    packages = GitHubPackages(github.url, github.owner, github.package, TOKEN, pause=stop)
    doomed = stopped.versions()[:-1]
    for version in doomed[:40]:
        packages.delete(version)
    with pytest.raises(KeyboardInterrupt):
        packages.delete(doomed[40])
    assert github.deleted == digests(doomed)[:40]
    again = Visitor(github)
    rest = again.versions()
    assert digests(rest) == [*digests(doomed)[40:], oldest]
    for version in doomed:  # the old plan does no harm either
        again.packages.delete(version)
    assert sorted(github.deleted) == sorted(digests(doomed))
    assert list(github.registry.tags) == ["tag-0"]


@pytest.mark.parametrize("count", [5000, 5001])
def test_github_keeps_what_many_have_downloaded(github: GitHubDouble, count: int) -> None:
    github.downloads = dict.fromkeys(fill(github, 3)[:1], count)
    visitor = Visitor(github)
    version = visitor.versions()[0]
    if count == 5000:
        visitor.packages.delete(version)
        return
    error = visitor.refused(version)
    assert (error.status, error.temporary, visitor.pauses) == (400, False, [])
    assert DOWNLOADS in error.message
    assert error.hint == "GitHub keeps public versions with over 5,000 downloads; only its support deletes them"


def test_a_refusal_with_the_last_of_the_quota_is_no_rate_limit(github: GitHubDouble) -> None:
    github.downloads = dict.fromkeys(fill(github, 3), 9999)
    github.quota, github.reset = 2, int(time.time()) + 1800
    visitor = Visitor(github)
    error = visitor.refused(visitor.versions()[0])
    assert (error.status, error.temporary, github.quota, visitor.pauses) == (400, False, 0, [])


@pytest.mark.parametrize(("tags", "words"), [(("only",), LAST_TAGGED), ((), LAST)])
def test_github_keeps_the_last_version(github: GitHubDouble, tags: tuple[str, ...], words: str) -> None:
    push(github, 1, *tags)
    if tags:
        push(github, 2)  # untagged: it doesn't count
    visitor = Visitor(github)
    error = visitor.refused(visitor.versions()[-1])
    assert (error.status, error.temporary) == (400, False)
    assert words in error.message
    assert "keep one, or delete the package" in error.hint


def test_a_token_that_github_does_not_know(github: GitHubDouble) -> None:
    fill(github, 1)
    github.token = "another"
    visitor = Visitor(github)
    error = visitor.refused()
    assert (error.status, error.temporary, visitor.pauses) == (401, False, [])
    assert error.message == f"GET {github.url}/orgs/eurohpc/packages/container/hub%2Fcache/versions: 401 Bad credentials"
    assert "GITHUB_TOKEN dies with its job" in error.hint
    assert "delete:packages" in error.hint


def test_a_token_that_may_not_delete(github: GitHubDouble) -> None:
    fill(github, 2)
    github.role = "write"
    visitor = Visitor(github)
    error = visitor.refused(visitor.versions()[0])
    assert (error.status, error.temporary, visitor.pauses, github.count("DELETE")) == (403, False, [], 1)
    assert "403 Must have admin rights" in error.message
    assert "Manage Actions access" in error.hint
    assert "`permissions: packages: write`" in error.hint


@pytest.mark.parametrize("token", ["", "s3cret\nT0ken", "s3crétT0ken"])
def test_what_is_no_token_is_not_repeated(github: GitHubDouble, token: str) -> None:
    with pytest.raises(RegistryError, match="has characters that no token has") as caught:
        Visitor(github, token=token)
    assert not token or token not in str(caught.value)
    assert caught.value.hint


def test_a_token_that_github_repeats_is_blacked_out(github: GitHubDouble) -> None:
    github.faults = [Fault("GET", "status", 418, message=f"what is {TOKEN}?")]
    assert Visitor(github).refused().message.endswith(": 418 what is ***?")


def test_deletes_are_a_second_apart(github: GitHubDouble) -> None:
    fill(github, 5)
    visitor = Visitor(github, per_second=0.9)
    for version in visitor.versions()[:4]:
        visitor.packages.delete(version)
    assert len(visitor.pauses) == 3
    assert all(0.9 < pause <= 1 / 0.9 for pause in visitor.pauses), visitor.pauses
    assert visitor.said == []


LIMITS = [
    (Limit(headers={"Retry-After": "90"}), [90]),
    (Limit(status=429, headers={"Retry-After": "7"}, message="Too many"), [7]),
    (Limit(headers={"Retry-After": "0"}), [1]),
    (Limit(headers={"Retry-After": "86400"}, message="later"), [3600]),
    (Limit(times=3), [60, 120, 240]),
    (Limit(status=429, message=""), [60]),
    (Limit(headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), [60]),
    (Limit(headers={"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": "99999999999"}), [60]),
    (Limit(headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"}, message="later"), [3600]),
    (Limit(headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, message="later"), [1]),
]


@pytest.mark.parametrize(("limit", "expected"), LIMITS, ids=lambda value: str(getattr(value, "headers", value)))
def test_a_rate_limit_is_waited_out_as_told(github: GitHubDouble, limit: Limit, expected: list[float]) -> None:
    fill(github, 5)
    github.limits = [replace(limit, after=2)]
    visitor = Visitor(github)
    for version in visitor.versions()[:4]:
        visitor.packages.delete(version)
    assert visitor.pauses == expected
    assert len(github.deleted) == 4
    assert [text.split(",")[0] for text in visitor.said] == [f"eurohpc/hub/cache: waiting {pause} s" for pause in expected]
    assert f": {limit.status} " in visitor.said[0]
    assert limit.message in visitor.said[0]


def test_the_hourly_quota_is_waited_for(github: GitHubDouble) -> None:
    fill(github, 5)
    github.quota, github.reset = 3, int(time.time()) + 1800
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        github.quota = 1000

    packages = GitHubPackages(github.url, github.owner, github.package, TOKEN, pause=pause, per_second=math.inf)
    for version in list(packages.versions())[:4]:
        packages.delete(version)
    assert len(github.deleted) == 4
    assert len(pauses) == 1
    assert 1795 < pauses[0] <= 1801


def test_a_rate_limit_while_listing_is_waited_out_too(github: GitHubDouble) -> None:
    expected = fill(github, 150)
    github.faults = [Fault("page=2", "status", 403, headers={"Retry-After": "61"}, message=SECONDARY)]
    visitor = Visitor(github)
    assert digests(visitor.versions()) == expected
    assert visitor.pauses == [61]


def test_a_rate_limit_without_an_end_is_an_error(github: GitHubDouble) -> None:
    fill(github, 2)
    github.limits = [Limit(times=1000)]
    visitor = Visitor(github)
    error = visitor.refused(visitor.versions()[0])
    assert (error.status, error.temporary, github.count("DELETE")) == (403, True, ATTEMPTS)
    assert visitor.pauses == [60, 120, 240, 480, 960, 1920, 3600]
    assert error.hint == "run it again later: it goes on where it stopped"


@pytest.mark.parametrize(
    "fault",
    [Fault("", "status", 502), Fault("", "status", 500), Fault("", "status", 503), Fault("", "reset"), Fault("", "lost")],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
@pytest.mark.parametrize("match", ["GET .*per_page", "DELETE"])
def test_what_is_temporary_is_tried_again(github: GitHubDouble, fault: Fault, match: str) -> None:
    expected = fill(github, 3)
    github.faults = [replace(fault, match=match, times=3)]
    visitor = Visitor(github)
    versions = visitor.versions()
    assert digests(versions) == expected
    visitor.packages.delete(versions[0])
    assert github.faults[0].times == 0
    assert visitor.pauses == [1, 2, 4]
    assert github.deleted == expected[:1]


def test_trouble_without_an_end_is_an_error(github: GitHubDouble) -> None:
    fill(github, 2)
    github.faults = [Fault("DELETE", "status", 502, times=1000, message="Server Error")]
    visitor = Visitor(github)
    error = visitor.refused(visitor.versions()[0])
    assert (error.status, error.temporary, visitor.pauses) == (502, True, [1, 2, 4, 8, 16, 30, 30])


def test_nobody_there_is_an_error(github: GitHubDouble) -> None:
    visitor = Visitor(github, api="http://127.0.0.1:9")
    error = visitor.refused()
    assert (error.status, error.temporary, len(visitor.pauses)) == (0, True, ATTEMPTS - 1)
    assert "ConnectionError" in error.message


def test_a_certificate_that_nobody_vouches_for_is_final(github: GitHubDouble, certificates: Certificates) -> None:
    with issuing(certificates, "tester", "s3cret") as stranger:
        visitor = Visitor(github, api=stranger.url.removesuffix("/token"))
        error = visitor.refused()
    assert "SSLError" in error.message
    assert visitor.pauses == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirected_delete_stays_a_delete(github: GitHubDouble, status: int) -> None:
    fill(github, 2)
    visitor = Visitor(github)
    version = visitor.versions()[0]
    there = f"/organizations/4711/packages/container/hub%2Fcache/versions/{version.id}"
    github.faults = [Fault("DELETE /orgs", "status", status, headers={"Location": there})]
    visitor.packages.delete(version)
    assert github.requests[-1] == f"DELETE {there}"
    assert github.deleted == [str(version.digest)]


def test_redirections_end(github: GitHubDouble) -> None:
    github.faults = [Fault("GET", "status", 301, times=1000, headers={"Location": "/around"})]
    assert "redirected more than 5 times" in Visitor(github).refused().message
    assert len(github.requests) == 6


@pytest.mark.parametrize("road", ["redirection", "next page"])
def test_the_token_goes_to_no_other_host(github: GitHubDouble, road: str) -> None:
    fill(github, 150)
    visitor = Visitor(github)
    with serving_github(github.registry) as stranger:
        if road == "redirection":
            github.faults = [Fault("GET", "status", 302, headers={"Location": f"{stranger.url}/x?secret=1"})]
        else:
            github.url = stranger.url  # the links are made of it
        error = visitor.refused()
        assert "sends elsewhere, where the token must not go" in error.message
        assert "?" not in error.message
        assert stranger.requests == []
        assert visitor.pauses == []
