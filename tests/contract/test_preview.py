"""`inv serve --live` as it is typed, and Chromium before it: what is changed is seen, what is broken is told, the files stay the site's."""

from __future__ import annotations

import functools
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cachelib.model.errors import RenderError
from cachelib.model.oci import LayoutLocation
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.preview import Live, previewing
from cachelib.tools.templates import JinjaTemplates
from tests.support.browser import Complaints, browser
from tests.support.caches import publish_catalog
from tests.support.mirrors import make_catalog, make_node

PROJECT = Path(__file__).resolve().parents[2]
NOTE = "#live-error"
SHORT = '{% extends "site/base.html" %}\n{% block main %}<h1>TEXT</h1>{% endblock %}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache of two packages, whose owner has a template of their own."""
    text = (PROJECT / "examples/cache.yaml").read_text().replace("[spack_repo/examples]", f"[{PROJECT / 'examples/spack_repo/examples'}]")
    (tmp_path / "cache.yaml").write_text(text.replace("site:\n", "site:\n  templates: own\n"))
    write(tmp_path / "own/site/index.html", (PROJECT / "templates/site/index.html").read_text())
    zlib = make_node("zlib", "1.3")
    repository = LayoutRepository(LayoutLocation(path=tmp_path / "var/registry/v1.1"))
    publish_catalog(repository, make_catalog([zlib], [make_node("png", "1.6", dependencies=[zlib]), zlib]))
    return tmp_path


def command(folder: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "invoke",
        "--search-root",
        str(PROJECT),
        arguments[0],
        "--config",
        str(folder / "cache.yaml"),
        *arguments[1:],
    ]


def inv(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(command(folder, *arguments), cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return done.returncode, done.stdout


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Preview:
    """One that runs."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "said.txt"
        with self._log.open("wb") as out:
            # Where the tests run in the background, Ctrl-C is ignored, and what is started would inherit that.
            interruptible = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            started = command(folder, "serve", "--live", "--port", "0")
            self.process = subprocess.Popen(started, cwd=folder, stdout=out, stderr=subprocess.STDOUT, preexec_fn=interruptible)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            if found := re.search(pattern, self.said):
                return found
            time.sleep(0.05)
        pytest.fail(f"{pattern!r} was never said: {self.said}")

    @property
    def url(self) -> str:
        return self.wait_for(r"http://127\.0\.0\.1:\d+/")[0]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=20)


@pytest.fixture
def preview(folder: Path) -> Iterator[Preview]:
    made = Preview(folder)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Browser, preview: Preview) -> Iterator[Page]:
    """The front page, once it is there; nothing in it may violate its policy."""
    opened = chromium.new_page()
    complaints = Complaints()
    complaints.listen(opened)
    preview.wait_for("rendered: ")
    opened.goto(preview.url)
    expect(opened.locator("h1")).to_have_text("The example cache")
    yield opened
    opened.close()
    assert complaints.found == []


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_changed_template_is_seen(folder: Path, preview: Preview, page: Page) -> None:
    template = folder / "own/site/index.html"
    template.write_text(template.read_text().replace("{% block main %}", "{% block main %}<p id='fresh'>Fresh words</p>", 1))
    expect(page.locator("#fresh")).to_have_text("Fresh words", timeout=10_000)
    preview.wait_for(r"rendered: \d+ files, 0 new, 1 changed, 0 gone")
    before = tree(folder / "var/site")
    assert len(before) > 20
    assert not [name for name, data in before.items() if b"_live" in data]
    assert inv(folder, "render", "--out", str(folder / "again"))[0] == 0
    assert before == tree(folder / "again")


def test_a_changed_style_is_seen(folder: Path, page: Page) -> None:
    """Twice in a second: a browser that keeps files would ask for what is newer than that second."""
    style = (PROJECT / "templates/site/style.css").read_text()
    for color in ("rgb(1, 2, 3)", "rgb(4, 5, 6)"):
        write(folder / "own/site/style.css", f"{style}\nh1 {{ color: {color}; }}\n")
        expect(page.locator("h1")).to_have_css("color", color, timeout=10_000)


def test_settings_of_the_site_are_seen(folder: Path, preview: Preview, page: Page) -> None:
    settings = folder / "cache.yaml"
    good = settings.read_text()
    settings.write_text(good.replace("The example cache", "Another name"))
    expect(page.locator("h1")).to_have_text("Another name", timeout=10_000)
    settings.write_text(good + "nonsense: 1\n")
    expect(page.locator(NOTE)).to_contain_text("nonsense", timeout=10_000)
    expect(page.locator("h1")).to_have_text("Another name")
    # Another folder is looked at from then on.
    write(folder / "other/site/404.html", SHORT.replace("TEXT", "Not here"))
    settings.write_text(good.replace("templates: own", "templates: other"))
    expect(page.locator("h1")).to_have_text("The example cache", timeout=10_000)
    write(folder / "other/site/index.html", SHORT.replace("TEXT", "From another folder"))
    expect(page.locator("h1")).to_have_text("From another folder", timeout=10_000)


@pytest.mark.parametrize(
    ("broken", "where", "reason"),
    [
        ("\n{{ nothing.here }}", 2, "'nothing' is undefined"),
        ("\n\n{% if %}", 3, "Expected an expression"),
        ("\n{{ 1 / 0 }}", 2, "ZeroDivisionError: division by zero"),
        ("{{ site.title + 1 }}", 1, "TypeError: can only concatenate str"),
    ],
)
def test_a_broken_template_is_told_and_mended(folder: Path, preview: Preview, page: Page, broken: str, where: int, reason: str) -> None:
    template = folder / "own/site/index.html"
    good = template.read_text()
    # Not in index.html itself: the file that is told is the one to mend.
    write(folder / "own/site/part.html", broken)
    template.write_text(good.replace("{% block main %}", '{% block main %}{% include "site/part.html" %}', 1))
    expect(page.locator(NOTE)).to_contain_text(reason, timeout=10_000)
    expect(page.locator("h1")).to_have_text("The example cache")
    place = f"template site/index.html: {folder / 'own/site/part.html'}:{where}: {reason}"
    expect(page.locator(NOTE)).to_contain_text(place)
    assert place in preview.said
    assert "Traceback" not in preview.said
    page.reload()
    expect(page.locator("h1")).to_have_text("The example cache")
    expect(page.locator(NOTE)).to_contain_text(reason)
    write(folder / "own/site/part.html", "<p id='fresh'>Mended</p>")
    expect(page.locator("#fresh")).to_have_text("Mended", timeout=10_000)
    expect(page.locator(NOTE)).to_have_count(0)


def test_an_error_that_is_taken_back_is_no_more(folder: Path, page: Page) -> None:
    """The site is then the one that the page shows: it does not load again, and the note goes."""
    template = folder / "own/site/index.html"
    good = template.read_text()
    template.write_text(good + "{{ nothing }}{% endblock %}")
    expect(page.locator(NOTE)).to_contain_text("template site/index.html", timeout=10_000)
    page.evaluate("window.same = true")
    template.write_text(good)
    expect(page.locator(NOTE)).to_have_count(0, timeout=10_000)
    assert page.evaluate("window.same") is True


def test_it_begins_with_a_broken_template(folder: Path, chromium: Browser) -> None:
    template = folder / "own/site/index.html"
    good = template.read_text()
    template.write_text("{{ nothing }}")
    preview = Preview(folder)
    try:
        preview.wait_for("'nothing' is undefined")
        page = chromium.new_page()
        page.goto(preview.url)
        expect(page.locator(NOTE)).to_contain_text("'nothing' is undefined")
        template.write_text(good)
        expect(page.locator("h1")).to_have_text("The example cache", timeout=10_000)
        page.close()
    finally:
        preview.process.kill()
        preview.process.wait()


def test_an_interrupt_ends_it_quietly(preview: Preview) -> None:
    preview.wait_for("rendered: ")
    assert preview.interrupt() == 0
    assert preview.said.splitlines()[-1].startswith("rendered: ")


def test_only_this_machine_is_answered(preview: Preview) -> None:
    preview.wait_for("rendered: ")
    port = int(preview.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), timeout=5):
        pass
    with pytest.raises(urllib.error.HTTPError) as nothing:
        urllib.request.urlopen(f"{preview.url}%00", timeout=5)
    assert nothing.value.code == 404
    nothing.value.close()
    assert "Traceback" not in preview.said


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = inv(folder, "serve", "--live", "--port", port)
    assert (code, f"port {port} can't be used" in said, "choose another with --port" in said) == (9, True, True), said


def test_what_can_not_be_shown(folder: Path) -> None:
    write(folder / "mine/letter.txt", "Dear all")
    code, said = inv(folder, "serve", "--live", "--out", str(folder / "mine"))
    assert (code, "not a site of ours" in said) == (9, True), said
    assert tree(folder / "mine") == {"letter.txt": b"Dear all"}
    code, said = inv(folder, "serve", "--live", "--to", f"oci-layout:{folder / 'nowhere'}")
    assert (code, "nothing is indexed" in said) == (8, True), said
    code, said = inv(folder, "serve", "--to", f"oci-layout:{folder / 'nowhere'}")
    assert (code, "--live" in said) == (2, True), said


def test_names_that_no_disk_can_have_are_of_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever is asked for is answered, and nothing of it is said in the terminal."""
    (tmp_path / "index.html").write_text("<head></head>")
    (tmp_path / "loop.html").symlink_to("loop.html")
    (tmp_path / "gone.html").symlink_to("nowhere.html")
    (tmp_path / "folder.html").mkdir()
    with previewing(tmp_path, 0, Live()) as server:
        for path, code in (
            ("/", 200), ("/" + "a" * 300 + ".html", 404), ("/" + "a" * 9000 + ".html", 404), ("/%00.html", 404), ("/loop.html", 404),
            ("/gone.html", 404), ("/folder.html/", 404), ("/%ff%fe.html", 404), ("/../../etc/passwd", 404), ("http://[bad/", 404), ("*", 404),
        ):  # fmt: skip
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                answer = connection.makefile("rb").readline()
            assert answer.split()[1:2] == [str(code).encode()], path
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("text", ["{{ 5|xmlattr }}", "{{ 'x' * (10 ** 15) }}", "{{ 1 / 0 }}", "{% include 'a.html' %}"])
def test_whatever_a_template_does_wrong_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.html").write_text(text)
    with pytest.raises(RenderError, match=r"template a\.html"):
        JinjaTemplates(tmp_path).render("a.html", {})
