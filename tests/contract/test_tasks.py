"""Tasks as they are typed: their exit codes, their words, and no traceback whatever is typed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with the mirror that ships."""
    text = (PROJECT / "examples/cache.yaml").read_text().replace("[spack_repo/examples]", f"[{PROJECT / 'examples/spack_repo/examples'}]")
    (tmp_path / "cache.yaml").write_text(text)
    shutil.copytree(PROJECT / "examples/mirror", tmp_path / "var/mirror/v1.1")
    return tmp_path


def inv(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [
        sys.executable,
        "-m",
        "invoke",
        "--search-root",
        str(PROJECT),
        *(str(folder / "cache.yaml") if a == "@" else a for a in arguments),
    ]
    done = subprocess.run(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120)
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


def test_several_tasks_in_one_line(folder: Path) -> None:
    code, said = inv(folder, "push", "--config", "@", "index", "--config", "@", "render", "--config", "@", "verify", "--config", "@")
    assert code == 0, said
    for word in ("push: 2 pushed", "index: 2 entries", "render: ", "verify: 2 images"):
        assert word in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["config", "--config", "nowhere.yaml"], 3, "does not exist"),
        (["push", "--config", "@", "--jobs", "0"], 2, "--jobs is 0"),
        (["push", "--config", "@", "--to", "ftp://x"], 2, "no place for a cache"),
        (["index", "--config", "@", "--to", "oci+http://127.0.0.1:9/x/y"], 7, "127.0.0.1:9"),
        (["render", "--config", "@"], 8, "nothing is indexed"),
        (["verify", "--config", "@"], 14, "nothing is published"),
        (["push", "--config", "@", "--to", "oci://me:s3cret@h.io/x"], 2, "no user and no password"),
        (["push", "--config", "@", "--to", "oci://h.io:99999/x"], 2, "no host name"),
        (["serve", "--config", "@", "--port", "99999"], 9, "does not exist"),
        (["build", "--config", "@", "--stack", "nope"], 2, "there is no stack 'nope'"),
    ],
)
def test_what_can_not_be(folder: Path, arguments: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, text = inv(folder, *arguments)
    assert (found, said in text) == (code, True), text
    assert "hint:" in text


@pytest.mark.parametrize(
    "text",
    [
        "a: 2025-13-45",
        "&a [*a]",
        "[" * 3000,
        "stacks:\n  2025: {}",
        "? [a]\n: b",
        "stacks: !!python/object:os.system {}",
        "a: !!int foo",
        "x: &a [1,1,1,1,1,1,1,1,1,1]\ny: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        + "".join(f"{c}: &{c} [{','.join([f'*{p}'] * 10)}]\n" for p, c in zip("bcdefgh", "cdefghi", strict=True)),
    ],
)
def test_settings_that_no_one_can_read(folder: Path, text: str) -> None:
    (folder / "cache.yaml").write_text(text)
    code, said = inv(folder, "config", "--config", "@")
    assert (code, "hint:" in said) == (3, True), said


def test_a_folder_that_can_not_be_made(folder: Path) -> None:
    assert inv(folder, "push", "--config", "@", "index", "--config", "@")[0] == 0
    for out in ("/proc/nothing/here", str(folder / "cache.yaml")):
        code, said = inv(folder, "render", "--config", "@", "--out", out)
        assert (code, "can't be written" in said) == (9, True), said


def test_a_killed_push_is_taken_up(folder: Path) -> None:
    command = [sys.executable, "-m", "invoke", "push", "--config", str(folder / "cache.yaml")]
    for delay in (0.3, 0.6, 0.8, 0.9):
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert inv(folder, "push", "--config", "@")[0] == 0
    assert inv(folder, "index", "--config", "@")[0] == 0
    assert inv(folder, "verify", "--config", "@")[0] == 0


def test_what_is_started_ends_with_us(tmp_path: Path) -> None:
    script = (
        "import os; from pathlib import Path\n"
        "from cachelib.tools.process import prepare_process, run\n"
        "prepare_process()\n"
        f"run(['sh', '-c', 'echo $$ > {tmp_path}/pid; sleep 60'], env=dict(os.environ))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stderr=subprocess.DEVNULL)
    for _ in range(100):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            break
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the program that was started is still there")
