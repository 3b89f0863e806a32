"""Programs that hang, shout or leave something behind: they end, and so does what waits for them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from cachelib.model.errors import CacheError
from cachelib.tools.process import KEPT_LINES, run

ENV = dict(os.environ)


def python(script: str, *, until: float = float("inf"), heard: list[str] | None = None) -> tuple[int, tuple[str, ...], bool, float]:
    began = time.monotonic()
    done = run([sys.executable, "-u", "-c", script], env=ENV, until=until, on_line=heard.append if heard is not None else None)
    return done.code, done.lines, done.timed_out, time.monotonic() - began


def test_lines_as_they_come() -> None:
    heard: list[str] = []
    script = "import sys; sys.stdout.buffer.write(b'one\\r\\ntwo\\n\\xff\\n10%\\r20%\\r\\nlast'); sys.exit(3)"
    code, lines, timed_out, _ = python(script, heard=heard)
    assert (code, timed_out) == (3, False)
    assert lines == ("one", "two", "\N{REPLACEMENT CHARACTER}", "10%", "20%", "last")
    assert heard == list(lines)


def test_only_the_last_lines_are_kept() -> None:
    _, lines, _, _ = python(f"for n in range({KEPT_LINES} + 5): print(n)")
    assert (len(lines), lines[0]) == (KEPT_LINES, "5")


def test_a_line_without_end_comes_in_pieces() -> None:
    """A program that never ends its line must not fill the memory; and nothing of it is lost."""
    heard: list[str] = []
    python("import sys\nfor _ in range(64): sys.stdout.write('x' * 65536)\nprint('y')", heard=heard)
    assert sum(map(len, heard)) == 64 * 65536 + 1
    assert max(map(len, heard)) <= 3 * 65536


def test_what_hangs_is_ended() -> None:
    code, lines, timed_out, took = python("print('begun'); import time; time.sleep(100)", until=time.monotonic() + 2)
    assert timed_out
    assert code != 0
    assert lines == ("begun",)
    assert took < 60


def test_what_does_not_listen_is_ended_with_its_children(tmp_path: Path) -> None:
    """A build may ignore what it is asked; the whole group goes."""
    script = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"child = subprocess.Popen(['sh', '-c', 'trap \"\" INT TERM; echo $$ > {tmp_path}/pid; sleep 100; true'])\n"
        "print('begun', flush=True); time.sleep(100)"
    )
    _, _, timed_out, took = python(script, until=time.monotonic() + 2)
    assert timed_out
    assert took < 60
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.1)
    pytest.fail("the child is still there")


def test_what_is_left_behind_holds_nobody_up() -> None:
    """A daemon that keeps the stream open is not waited for."""
    script = "import subprocess; subprocess.Popen(['sleep', '30'], start_new_session=True); print('done')"
    code, lines, timed_out, took = python(script)
    assert (code, lines, timed_out) == (0, ("done",), False)
    assert took < 20


def test_what_talks_on_behind_it_holds_nobody_up() -> None:
    talk = "import time\\nfor n in range(300): print(n, flush=True); time.sleep(0.1)"
    script = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{talk}'], start_new_session=True); print('done', flush=True)"
    )
    code, lines, timed_out, took = python(script)
    assert (code, timed_out) == (0, False)
    assert "done" in lines
    assert took < 15


def test_what_closes_its_output_is_ended_all_the_same() -> None:
    _, _, timed_out, took = python("import os, time; os.close(1); os.close(2); time.sleep(100)", until=time.monotonic() + 2)
    assert timed_out
    assert took < 60


def test_last_words_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said between a look that finds nothing and one that finds the program gone."""
    monkeypatch.setattr("cachelib.tools.process._LOOK", 0.002)
    for at in range(60):
        assert run(["sh", "-c", f"sleep 0.0{at % 10}; echo {at}"], env=ENV).lines == (str(at),)


def test_what_cannot_be_started() -> None:
    with pytest.raises(CacheError, match="can't be started"):
        run(["/nowhere/at/all"], env=ENV)
