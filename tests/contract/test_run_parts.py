"""Parts as artifacts of a run: found when they are there, given up when their maker is dead, fetched with no token, unpacked with no trust."""

from __future__ import annotations

import io
import stat
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cachelib.model.errors import FormatError, RegistryError, UsageError
from cachelib.tools.github_rest import ATTEMPTS, GitHubRest
from cachelib.tools.github_run import GitHubRun, open_run
from cachelib.tools.parts import PartFolder
from cachelib.tools.run_parts import INTERVAL, LOOK, QUEUED, RunParts
from cachelib.tools.unzip import unpack
from tests.support.actions.server import serving_api
from tests.support.actions.state import Fault, JobRow, RunState, State
from tests.support.mirrors import add_entry, make_node

JOB = "build (s on ubuntu-24.04, worker 2)"
PART = "s-0123abcd-worker-2-slot-1"


@dataclass
class Run:
    """A run on the stand-in for GitHub, and one worker of it that looks around."""

    state: State
    run: RunState
    folder: Path
    token: str
    now: float = 1000.0

    def open(self, **more: object) -> GitHubRun:
        rest = GitHubRest(self.state.api_url, self.token, "a run", hints={}, pause=lambda _: None)
        return GitHubRun(rest, "acme/hub", str(self.run.id))

    def parts(self, *, listed: bool = False) -> RunParts:
        return RunParts(PartFolder(self.folder / "parts"), self.open(), listed=listed, clock=lambda: self.now)

    def wait(self, parts: RunParts, name: str = PART, *, seconds: float) -> set[str]:
        """What a worker is told that looks for a part for so long, as often as it does."""
        told = set()
        until = self.now + seconds
        while self.now < until:
            told.add(parts.lost(name, JOB))
            self.now += INTERVAL
        return told

    def upload(self, name: str = PART, spec: str = "zlib") -> None:
        add_entry(self.folder / "made" / name, [make_node(spec)])
        root = self.folder / "made" / name
        files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
        self.state.store(self.run, name, files, JOB, overwrite=True, level=0, days=None)

    def job(self, status: str, conclusion: str | None = None, name: str = JOB) -> None:
        self.run.jobs[:] = [JobRow(id=1, name=name, attempt=1, labels=[], status=status, conclusion=conclusion)]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    state = State("acme/hub", tmp_path, "https://github.com")
    there = RunState(id=77, number=1, sha="0" * 40, workflow="w.yml", folder=tmp_path / "artifacts")
    there.folder.mkdir()
    state.runs[77] = there
    token, _ = state.token(77, "build", {"actions": "read"})
    with serving_api(state):
        yield Run(state, there, tmp_path, token)


def test_a_part_is_found_when_it_is_there(run: Run) -> None:
    parts = run.parts()
    assert parts.find(PART) is None
    spent = run.state.spent
    for _ in range(20):
        assert parts.find(PART) is None
    assert run.state.spent == spent, "looking again costs nothing of the rate limit"
    run.upload()
    found = parts.find(PART)
    assert found is not None
    assert [name.name for name in found.names()] == ["zlib"]
    # What is there is not asked for again, and nothing is left beside it.
    spent = run.state.spent
    assert parts.find(PART) is not None
    assert run.state.spent == spent
    assert [path.name for path in (run.folder / "parts").iterdir()] == [PART]


def test_the_publisher_asks_once_for_all(run: Run) -> None:
    for at in range(3):
        run.upload(f"s-0123abcd-worker-2-slot-{at}", f"zlib{at}")
    run.upload(f"s-0123abcd-worker-2-slot-{0}", "newer")
    parts = run.parts(listed=True)
    spent = run.state.spent
    assert parts.find("s-0123abcd-worker-9-slot-9") is None
    assert run.state.spent == spent
    found = parts.find("s-0123abcd-worker-2-slot-0")
    assert found is not None
    assert "newer" in {name.name for name in found.names()}


def test_a_job_that_ended_hands_on_nothing_more(run: Run) -> None:
    parts = run.parts()
    run.job("in_progress")
    assert run.wait(parts, seconds=300) == {""}
    # A called workflow's jobs have the caller's name in front.
    run.job("completed", "failure", f"cache / {JOB}")
    assert run.wait(parts, seconds=LOOK + INTERVAL) - {""} == {f"the job that was to build it has ended (failure): cache / {JOB}"}
    # It handed the part on just before it ended.
    run.upload()
    assert run.wait(parts, seconds=300) == {""}


def test_an_hour_of_waiting_costs_few_requests(run: Run) -> None:
    """Of a thousand an hour, for all workers of all runs of the repository; what GitHub answers with 304 costs none."""
    parts, names = run.parts(), [f"s-0123abcd-worker-2-slot-{at}" for at in range(5)]
    spent = run.state.spent
    for at in range(360):
        run.job("in_progress", name=f"{JOB} {at}")  # the steps of some job go on all the time, and so the list is another one
        for name in names:
            assert parts.find(name) is None
            assert parts.lost(name, JOB) == ""
        run.now += INTERVAL
    assert run.state.spent - spent <= 3600 / LOOK + len(names)


def test_what_a_job_handed_on_before_it_is_run_again_is_outdated(run: Run) -> None:
    run.upload()
    parts = run.parts()
    assert parts.find(PART) is not None
    run.job("completed", "failure")
    assert not parts.outdated(PART, JOB)
    run.now += LOOK
    run.job("in_progress")
    assert parts.outdated(PART, JOB)
    assert parts.find(PART) is None, "what is outdated is not fetched once more"
    # What it hands on now is fetched anew.
    run.upload(spec="newer")
    found = parts.find(PART)
    assert found is not None
    assert "newer" in {name.name for name in found.names()}


def test_a_job_that_waits_for_a_runner_is_not_waited_for_for_ever(run: Run) -> None:
    parts = run.parts()
    run.job("queued")
    assert run.wait(parts, seconds=QUEUED) == {""}
    assert "still waits for a runner" in parts.lost(PART, JOB)


def test_little_is_left_of_the_hour(run: Run) -> None:
    parts = run.parts()
    parts.find(PART)
    assert parts.interval == 10.0
    run.state.spent = run.state.limit - 50
    run.state.reset = int(__import__("time").time()) + 1800
    parts.find("s-0123abcd-worker-2-slot-2")
    assert parts.interval > 60


def test_github_in_trouble_is_asked_again(run: Run) -> None:
    run.upload()
    run.state.faults.append(Fault(r"GET .*/artifacts", nth=1, times=3))
    assert run.parts().find(PART) is not None


@pytest.mark.parametrize("kind", ["cut", "other", "status"])
def test_what_comes_damaged_is_fetched_again(run: Run, kind: str) -> None:
    run.upload()
    run.state.faults.append(Fault("GET /_blobs/", times=2, kind=kind))
    found = run.parts().find(PART)
    assert found is not None
    assert [name.name for name in found.names()] == ["zlib"]


def test_an_artifact_that_never_comes_costs_no_hour(run: Run) -> None:
    """The publishing job has many of them to fetch, and a time of its own."""
    run.upload()
    run.state.faults.append(Fault("GET .*/zip", times=1000))
    with pytest.raises(RegistryError):
        run.parts().find(PART)
    assert len([request for request in run.run.requests if "/zip" in request]) == ATTEMPTS


@pytest.mark.parametrize(
    ("conclusion", "steps", "broke"),
    [
        ("failure", ["success", None], True), ("timed_out", ["success", "cancelled"], True),
        # An ordinary failure has a step that failed: the network, a checkout, or what was built.
        ("failure", ["success", "failure", "skipped"], False), ("cancelled", ["success", "cancelled"], False), ("success", ["success"], False),
        ("failure", [], False),
    ],
)  # fmt: skip
def test_a_job_whose_machine_was_lost_is_told_from_one_that_failed(run: Run, conclusion: str, steps: list[str | None], broke: bool) -> None:
    run.job("completed", conclusion)
    run.run.jobs[0].steps = steps
    assert [job.broke_down for job in run.open().jobs()] == [broke]


def test_nothing_is_waited_for_past_the_end(run: Run) -> None:
    """A rate limit may ask for most of an hour: a worker whose time is over hands on what it has."""
    run.state.spent, run.state.reset = run.state.limit, int(time.time()) + 3000
    paused: list[float] = []
    rest = GitHubRest(run.state.api_url, run.token, "a run", hints={}, pause=paused.append, until=time.monotonic() + 600)
    with pytest.raises(RegistryError, match="rate limit"):
        GitHubRun(rest, "acme/hub", "77").jobs()
    assert paused == []


def test_a_token_that_may_not_says_what_to_write(run: Run) -> None:
    token, _ = run.state.token(77, "build", {"contents": "read"})
    env = {"GITHUB_API_URL": run.state.api_url, "GITHUB_REPOSITORY": "acme/hub", "GITHUB_RUN_ID": "77", "GITHUB_TOKEN": token}
    with pytest.raises(RegistryError) as caught:
        open_run(env, lambda _: None).artifacts()
    assert "actions: read" in caught.value.hint
    assert token not in caught.value.message


@pytest.mark.parametrize(
    "env", [{}, {"GITHUB_REPOSITORY": "../..", "GITHUB_RUN_ID": "1"}, {"GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "1/../2"}]
)
def test_elsewhere_there_is_no_run(env: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        open_run({"GITHUB_TOKEN": "t", **env}, lambda _: None)


def test_without_a_token_it_says_where_to_pass_it() -> None:
    with pytest.raises(UsageError) as caught:
        open_run({"GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "1"}, lambda _: None)
    assert "github.token" in caught.value.hint


# --- Archives ------------------------------------------------------------------------------------------------------------------------------


def archive(path: Path, *members: tuple[str, bytes, int]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            made.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../evil", 0o644 | stat.S_IFREG), ("/etc/evil", 0o644 | stat.S_IFREG), ("a/../../evil", 0o644 | stat.S_IFREG), ("a\\..\\evil", 0o644),
        ("link", 0o777 | stat.S_IFLNK), ("pipe", 0o644 | stat.S_IFIFO), ("device", 0o644 | stat.S_IFBLK),
    ],
)  # fmt: skip
def test_nothing_leads_out_of_an_archive(tmp_path: Path, name: str, mode: int) -> None:
    path = archive(tmp_path / "a.zip", ("fine", b"x", 0o644), (name, b"/etc/passwd", mode))
    (tmp_path / "into").mkdir()
    with pytest.raises(FormatError):
        unpack(path, tmp_path / "into", files=10, size=1000)
    assert not list(tmp_path.glob("evil*"))
    assert not any(found.is_symlink() for found in tmp_path.rglob("*"))


def test_a_bomb_is_stopped_where_it_may_grow_no_more(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", ("big", b"\0" * 50_000_000, 0))
    with pytest.raises(FormatError, match="unpacks to more"):
        unpack(path, tmp_path / "into", files=10, size=5_000_000)
    assert sum(found.stat().st_size for found in (tmp_path / "into").rglob("*")) <= 5_000_000
    path = archive(tmp_path / "b.zip", *((str(at), b"", 0) for at in range(20)))
    with pytest.raises(FormatError, match="20 files"):
        unpack(path, tmp_path / "more", files=10, size=1000)


def test_one_name_for_two_things(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "a.zip", ("a", b"1", 0), ("a", b"2", 0))
    with pytest.raises(FormatError, match="one name for two"):
        unpack(path, tmp_path / "into", files=10, size=1000)
    path = archive(tmp_path / "b.zip", ("a", b"1", 0), ("a/b", b"2", 0))
    with pytest.raises(FormatError, match="one name for two"):
        unpack(path, tmp_path / "again", files=10, size=1000)


def test_what_is_no_archive(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", b"hello" * 1000)
    data = whole.getvalue()
    flipped = bytearray(data)
    flipped[40] ^= 0xFF
    for at, bad in enumerate((b"", b"PK", data[:-30], bytes(flipped))):
        path = tmp_path / f"{at}.zip"
        path.write_bytes(bad)
        with pytest.raises(FormatError):
            unpack(path, tmp_path / f"into{at}", files=10, size=100_000)
