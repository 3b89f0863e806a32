"""GitHub's expressions: `${{ ... }}` in texts, and what stands after `if:`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tests.support.actions.functions import FUNCTIONS, STATUS, hash_files
from tests.support.actions.values import Value, WorkflowError, equal, index, less, star, to_number, to_text, truthy

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|(?P<number>[+-]?(?:0x[0-9a-fA-F]+|0o[0-7]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?))"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[!<>()\[\].,*]))"
)
_LITERALS: dict[str, Value] = {"true": True, "false": False, "null": None, "NaN": math.nan, "Infinity": math.inf}


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may see at its place: a context or a function that isn't there is an error, as on GitHub."""

    contexts: Mapping[str, Value]
    status: Mapping[str, Callable[[], bool]] = field(default_factory=dict)
    workspace: Path | None = None


_Code = Callable[[Scope], Value]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was read, and the functions that it calls."""

    run: _Code
    calls: frozenset[str]


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.calls, self.at = text, set[str](), 0
        self.tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                raise WorkflowError(f"Unexpected symbol: '{text[position:].strip()}' within expression: {text}")
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            position = found.end()

    def whole(self) -> Expression:
        if not self.tokens:
            raise WorkflowError("An expression was expected")
        code = self._either()
        if self.at < len(self.tokens):
            raise self._unexpected()
        return Expression(code, frozenset(self.calls))

    def _unexpected(self) -> WorkflowError:
        what = self.tokens[self.at][1] if self.at < len(self.tokens) else "the end"
        return WorkflowError(f"Unexpected {what} within expression: {self.text}")

    def _take(self, *signs: str) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "sign" and self.tokens[self.at][1] in signs:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return ""

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unexpected()

    def _either(self) -> _Code:
        left = self._both()
        while self._take("||"):
            left = _operand(left, self._both(), keep=True)
        return left

    def _both(self) -> _Code:
        left = self._equality()
        while self._take("&&"):
            left = _operand(left, self._equality(), keep=False)
        return left

    def _equality(self) -> _Code:
        left = self._order()
        while sign := self._take("==", "!="):
            left = _equality(left, self._order(), sign == "==")
        return left

    def _order(self) -> _Code:
        left = self._unary()
        while sign := self._take("<", "<=", ">", ">="):
            left = _order(left, self._unary(), sign)
        return left

    def _unary(self) -> _Code:
        if self._take("!"):
            inner = self._unary()
            return lambda scope: not truthy(inner(scope))
        return self._postfix(self._primary())

    def _primary(self) -> _Code:
        if self._take("("):
            inner = self._either()
            self._need(")")
            return inner
        if self.at >= len(self.tokens) or self.tokens[self.at][0] == "sign":
            raise self._unexpected()
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "string":
            return _constant(text[1:-1].replace("''", "'"))
        if kind == "number":
            number = to_number(text)
            return _constant(int(number) if number.is_integer() else number)
        if text in _LITERALS:
            return _constant(_LITERALS[text])
        return self._call(text) if self._take("(") else _context(text)

    def _call(self, name: str) -> _Code:
        arguments: list[_Code] = []
        while not self._take(")"):
            if arguments:
                self._need(",")
            arguments.append(self._either())
        low = name.lower()
        self.calls.add(low)
        if low not in STATUS | {"hashfiles"} | FUNCTIONS.keys():
            raise WorkflowError(f"Unrecognized function: '{name}' within expression: {self.text}")
        if low in FUNCTIONS and not FUNCTIONS[low][0] <= len(arguments) <= FUNCTIONS[low][1]:
            raise WorkflowError(f"Too few or too many parameters supplied: '{name}' within expression: {self.text}")
        return _called(name, arguments)

    def _postfix(self, code: _Code) -> _Code:
        while sign := self._take(".", "["):
            if self._take("*"):
                code = _starred(code)
            elif sign == "[":
                code = _indexed(code, self._either())
            elif self.at < len(self.tokens) and self.tokens[self.at][0] == "name":
                code = _indexed(code, _constant(self.tokens[self.at][1]))
                self.at += 1
            else:
                raise self._unexpected()
            if sign == "[":
                self._need("]")
        return code


def _constant(value: Value) -> _Code:
    return lambda scope: value


def _operand(left: _Code, right: _Code, *, keep: bool) -> _Code:
    def run(scope: Scope) -> Value:
        value = left(scope)
        return value if truthy(value) is keep else right(scope)

    return run


def _equality(left: _Code, right: _Code, wanted: bool) -> _Code:
    return lambda scope: equal(left(scope), right(scope)) is wanted


def _order(left: _Code, right: _Code, sign: str) -> _Code:
    def run(scope: Scope) -> bool:
        a, b = left(scope), right(scope)
        return (sign[0] == "<" and less(a, b)) or (sign[0] == ">" and less(b, a)) or (len(sign) == 2 and equal(a, b))

    return run


def _starred(code: _Code) -> _Code:
    return lambda scope: star(code(scope))


def _indexed(code: _Code, key: _Code) -> _Code:
    return lambda scope: index(code(scope), key(scope))


def _context(name: str) -> _Code:
    def run(scope: Scope) -> Value:
        if name.lower() not in scope.contexts:
            raise WorkflowError(f"Unrecognized named-value: '{name}'")
        return scope.contexts[name.lower()]

    return run


def _called(name: str, arguments: list[_Code]) -> _Code:
    low = name.lower()

    def run(scope: Scope) -> Value:
        if low in FUNCTIONS:
            return FUNCTIONS[low][2](*(argument(scope) for argument in arguments))
        if low == "hashfiles" and scope.workspace:
            return hash_files(scope.workspace, [argument(scope) for argument in arguments])
        if low in scope.status:
            return scope.status[low]()
        raise WorkflowError(f"Unrecognized function: '{name}'")

    return run


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Read an expression without its `${{ }}`."""
    return _Parser(text).whole()


@lru_cache(maxsize=4096)
def _segments(text: str) -> tuple[str | Expression, ...]:
    """Text and expressions in turn. A `}}` within quotes ends none."""
    out: list[str | Expression] = []
    position = 0
    while (start := text.find("${{", position)) >= 0:
        quoted, end = False, start + 3
        while end < len(text) and (quoted or not text.startswith("}}", end)):
            quoted ^= text[end] == "'"
            end += 1
        if end >= len(text):
            raise WorkflowError(f"The expression is not closed. An unescaped ${{{{ sequence was found: {text}")
        out += [text[position:start], parse(text[start + 3 : end])]
        position = end + 2
    out.append(text[position:])
    return tuple(part for part in out if part != "")


def evaluate(node: Value, scope: Scope) -> Value:
    """A node of YAML with its expressions evaluated. What is nothing but one expression keeps its type."""
    if isinstance(node, dict):
        return {to_text(evaluate(key, scope)): evaluate(value, scope) for key, value in node.items()}
    if isinstance(node, list):
        return [evaluate(value, scope) for value in node]
    if not isinstance(node, str):
        return node
    parts = _segments(node)
    if len(parts) == 1 and isinstance(parts[0], Expression):
        return parts[0].run(scope)
    return "".join(part if isinstance(part, str) else to_text(part.run(scope)) for part in parts)


def check_syntax(where: str, node: Value) -> None:
    """Raise WorkflowError where an expression anywhere below can't be read: GitHub begins no such run."""
    try:
        if isinstance(node, str):
            _segments(node)
        elif isinstance(node, list):
            for value in node:
                check_syntax(where, value)
        elif isinstance(node, dict):
            for key, value in node.items():
                check_syntax(f"{where}, {key}", value)
                if key == "if" and isinstance(value, str) and "${{" not in value and value.strip():
                    parse(value.strip())
    except WorkflowError as error:
        text = str(error)
        raise WorkflowError(text if text.startswith(where.split(",")[0]) else f"{where}: {text}") from None


def condition(node: Value, scope: Scope) -> bool:
    """What `if:` says, with `success()` before it unless it asks for a status itself."""
    if node is None or node == "":
        node = "success()"
    text = to_text(node).strip()
    parts = _segments(text)
    if len(parts) == 1 and isinstance(parts[0], str):
        parts = (parse(text),)
    calls = frozenset[str]().union(*(part.calls for part in parts if isinstance(part, Expression)))
    if not calls & STATUS and not scope.status["success"]():
        return False
    # Text around an expression makes it a text, which is true whatever it says: GitHub falls into that, too.
    return truthy(parts[0].run(scope) if len(parts) == 1 and isinstance(parts[0], Expression) else evaluate(text, scope))
