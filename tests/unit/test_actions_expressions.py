"""GitHub's expressions and what the runner reads from a step: tables of what is documented, and of what surprises."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.support.actions.commands import CommandReader, lines, read_pairs
from tests.support.actions.expressions import Scope, check_syntax, condition, evaluate
from tests.support.actions.globs import search
from tests.support.actions.matrix import expand, label
from tests.support.actions.values import CaseSensitive, Value, WorkflowError

CONTEXTS = {
    "github": {"ref": "refs/heads/main", "event": {"labels": [{"name": "bug"}, {"name": "Docs"}, {}], "number": 7}},
    "env": CaseSensitive({"Name": "x"}),
    "steps": {"a-b": {"outputs": {"list": '["x", "y"]', "yes": "true"}}},
    "matrix": {"os": ["a", "b"], "n": 3, "none": None},
    "needs": {"one": {"result": "success"}, "two": {"result": "failure"}},
}


def scope(*, failed: bool = False, cancelled: bool = False) -> Scope:
    status = {
        "success": lambda: not failed and not cancelled,
        "failure": lambda: failed,
        "cancelled": lambda: cancelled,
        "always": lambda: True,
    }
    return Scope(CONTEXTS, status)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        ("-3.5", -3.5),
        ("0xff", 255),
        ("2.99e-2", 0.0299),
        ("'it''s'", "it's"),
        ("github.ref", "refs/heads/main"),
        ("GitHub.REF", "refs/heads/main"),
        ("github['ref']", "refs/heads/main"),
        ("github.nothing.below", None),
        ("steps.a-b.outputs.yes", "true"),
        ("matrix.os[1]", "b"),
        ("matrix.os[2]", None),
        ("env.Name", "x"),
        ("env.name", None),
        ("join(github.event.labels.*.name, '+')", "bug+Docs"),
        ("join(needs.*.result)", "success,failure"),
        ("contains(needs.*.result, 'failure')", True),
        ("contains(github.event.labels.*.name, 'docs')", True),
        ("contains('Hello', 'LL')", True),
        ("contains(github.event, 'x')", False),
        ("startsWith(github.ref, 'REFS/heads/')", True),
        ("endsWith('abc', 'BC')", True),
        ("format('{0} {{x}} {1}', 'a', 2.0)", "a {x} 2"),
        ("toJSON(matrix.os)", '[\n  "a",\n  "b"\n]'),
        ("fromJSON(steps.a-b.outputs.list)[0]", "x"),
        ('fromJSON(\'{"a": {"B": 1}}\').A.b', 1),
        ("case(false, 1, 'x' == 'X', 2, 3)", 2),
        ("1 == '1'", True),
        ("1 == ' 1.0 '", True),
        ("'' == 0", True),
        ("null == 0", True),
        ("null == ''", True),
        ("true == 'true'", False),
        ("true == 1", True),
        ("'ABC' == 'abc'", True),
        ("'a' < 'B'", True),
        ("'x' < 1", False),
        ("'x' >= 1", False),
        ("NaN == NaN", False),
        ("matrix.os == matrix.os", True),
        ("fromJSON('[1]') == fromJSON('[1]')", False),
        ("'a' && 'b'", "b"),
        ("'' && 'b'", ""),
        ("'' || 'b'", "b"),
        ("null || false || 0", 0),
        ("!'false'", False),
        ("!0 && !null && !''", True),
        ("matrix.n > 2 && matrix.n <= 3 || github.nothing", True),
        ("true || false && false", True),
        ("(true || false) && false", False),
        ("1 < 2 == true", True),
    ],
)
def test_expressions(text: str, value: Value) -> None:
    found = evaluate("${{ " + text + " }}", scope())
    assert found == value
    assert isinstance(found, bool) is isinstance(value, bool)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "foo.bar",
        "nothing()",
        "1 +",
        "'open",
        "a b",
        "format('{1}', 1)",
        "fromJSON('{')",
        "contains('a')",
        '"x"',
        "hashFiles('x')",
        "github.",
    ],
)
def test_what_is_no_expression_is_an_error(text: str) -> None:
    with pytest.raises(WorkflowError):
        evaluate("${{ " + text + " }}", scope())


def test_text_around_an_expression_makes_a_text() -> None:
    assert evaluate("x ${{ matrix.n }}/${{ null }} ${{ matrix.os }} ${{ true }}", scope()) == "x 3/ Array true"
    assert evaluate("${{ matrix.n }}", scope()) == 3
    assert evaluate("${{ '}}' }}", scope()) == "}}"
    assert evaluate({"a": ["${{ matrix.os }}", 1]}, scope()) == {"a": [["a", "b"], 1]}
    with pytest.raises(WorkflowError, match="not closed"):
        evaluate("${{ matrix.n }", scope())


@pytest.mark.parametrize(
    ("text", "good", "failed", "cancelled"),
    [
        (None, True, False, False),
        (True, True, False, False),
        ("matrix.n == 3", True, False, False),
        ("${{ matrix.n == 3 }}", True, False, False),
        ("always()", True, True, True),
        ("!cancelled()", True, True, False),
        ("${{ !cancelled() && matrix.n == 3 }}", True, True, False),
        ("failure()", False, True, False),
        ("cancelled()", False, False, True),
        ("success() || failure()", True, True, False),
        ("matrix.n == 4", False, False, False),
        # It reads like a comparison, and is a text: never false.
        ("${{ matrix.n }} == 4", True, False, False),
        ("'always()'", True, False, False),
    ],
)
def test_conditions(text: Value, good: bool, failed: bool, cancelled: bool) -> None:
    assert condition(text, scope()) is good
    assert condition(text, scope(failed=True)) is failed
    assert condition(text, scope(cancelled=True)) is cancelled


def test_syntax_is_checked_before_anything_runs() -> None:
    check_syntax("w.yml", {"if": "always()", "run": "echo ${{ unknown.context }}"})
    for wrong in ({"if": "a =="}, {"x": [{"run": "${{ a. }}"}]}, {"if": "${{ nothing() }}"}):
        with pytest.raises(WorkflowError, match=r"w\.yml"):
            check_syntax("w.yml", wrong)


def test_hash_files(tmp_path: Path) -> None:
    (tmp_path / "a.lock").write_text("a")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/b.lock").write_text("b")
    here = Scope({}, {}, tmp_path)
    wanted = hashlib.sha256(hashlib.sha256(b"a").digest() + hashlib.sha256(b"b").digest()).hexdigest()
    assert evaluate("${{ hashFiles('**/*.lock') }}", here) == wanted
    assert evaluate("${{ hashFiles('**/*.lock', '!deep') }}", here) == hashlib.sha256(hashlib.sha256(b"a").digest()).hexdigest()
    assert evaluate("${{ hashFiles('*.none') }}", here) == ""


def test_globs(tmp_path: Path) -> None:
    for name in ("a/x.txt", "a/b/y.txt", "a/b/.hidden", ".dot/z.txt", "c/x.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(text: str, *, hidden: bool = False) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in search(text, tmp_path, hidden=hidden).files]

    assert found("a") == ["a/b/y.txt", "a/x.txt"]
    assert found("a/", hidden=True) == ["a/b/.hidden", "a/b/y.txt", "a/x.txt"]
    assert found("a/*.txt\nc/**\n# no\n!**/*.log") == ["a/x.txt"]
    assert found("**/x.*") == ["a/x.txt", "c/x.log"]
    assert found(".dot") == []
    assert found(".dot", hidden=True) == [".dot/z.txt"]
    assert search("a/*.txt\nc", tmp_path).searched == [tmp_path / "a", tmp_path / "c"]


def test_matrices() -> None:
    matrix = {
        "os": ["a", "b"],
        "n": [1, 2],
        "exclude": [{"os": "b", "n": 2}],
        "include": [{"os": "a", "extra": "x"}, {"os": "c"}, {"color": "green"}],
    }
    assert expand(matrix) == [
        {"os": "a", "n": 1, "extra": "x", "color": "green"},
        {"os": "a", "n": 2, "extra": "x", "color": "green"},
        {"os": "b", "n": 1, "color": "green"},
        {"os": "c"},
    ]
    assert label({"os": "a", "n": 1, "o": {"deep": [True]}}) == "a, 1, true"
    assert expand({"include": [{"a": 1}, {"a": 2}]}) == [{"a": 1}, {"a": 2}]
    refused: tuple[Value, ...] = ({"a": []}, {"a": "x"}, {"include": []}, [], {"a": list(range(257))})
    for wrong in refused:
        with pytest.raises(WorkflowError):
            expand(wrong)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("a=1\n\nb=x=y\n", {"a": "1", "b": "x=y"}),
        ("a=1", {"a": "1"}),
        ("a<<EOF\none\n\ntwo=2\nEOF\nb=1\r\n", {"a": "one\n\ntwo=2", "b": "1"}),
        ("a<<E O\nE\nE O\n", {"a": "E"}),
        ("a<<X\nX\n", {"a": ""}),
        ("a=1<<2\n", {"a": "1<<2"}),
        ("a=1\na=2\n", {"a": "2"}),
    ],
)
def test_pairs(tmp_path: Path, text: str, pairs: dict[str, str]) -> None:
    (tmp_path / "output").write_bytes(text.encode())
    assert read_pairs(tmp_path / "output") == pairs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello\n", "Invalid format 'hello'"),
        ("=x\n", "Name must not be empty"),
        ("<<EOF\nEOF\n", "delimiter must not be empty"),
        ("a<<\n", "delimiter must not be empty"),
        ("a<<EOF\none\n", "Matching delimiter not found 'EOF'"),
        ("a<<EOF\none\nEOF \n", "Matching delimiter not found 'EOF'"),
    ],
)
def test_wrong_pairs(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "output").write_text(text)
    with pytest.raises(WorkflowError, match=words):
        read_pairs(tmp_path / "output")


def test_commands_in_a_log() -> None:
    reader = CommandReader([])
    log = (
        "::error file=a.py,line=3,title=Oh%3A%2C::one%0Atwo%25\n  ::WARNING::w\nx ::error::not at the start\n::unknown::x\nx ##[error]old\n"
    )
    for line in lines(log + "progress\r::notice::after a CR\n"):
        reader.read(line)
    assert [(one.level, one.text) for one in reader.annotations] == [
        ("error", "one\ntwo%"),
        ("warning", "w"),
        ("error", "old"),
        ("notice", "after a CR"),
    ]
    assert (reader.annotations[0].file, reader.annotations[0].line, reader.annotations[0].title) == ("a.py", 3, "Oh:,")


def test_stopped_commands_are_text() -> None:
    reader = CommandReader([])
    for line in ("::stop-commands::t0ken", "::error::no", "##[error]no", "::T0KEN::", "::error::no", "::t0ken::", "::error::yes"):
        reader.read(line)
    assert [one.text for one in reader.annotations] == ["yes"]
    reader.read("::stop-commands::error")
    assert reader.failed


def test_masks() -> None:
    reader = CommandReader([])
    assert reader.read("::add-mask::s3cret") == "::add-mask::***"
    assert reader.read("it is s3cret") == "it is ***"
