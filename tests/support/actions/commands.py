"""What a step tells the runner: lines of its output that are commands, and the files of its environment."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.actions.records import Annotation
from tests.support.actions.values import WorkflowError

REGISTERED = frozenset({"internal-set-repo-path", "set-env", "set-output", "save-state", "add-path", "add-mask", "add-matcher"})
REGISTERED |= {"remove-matcher", "debug", "warning", "error", "notice", "echo", "group", "endgroup", "stop-commands"}
_LINE_END = re.compile(r"\r\n|\n|\r")


def lines(text: str) -> list[str]:
    """Lines as the runner reads them: a lone CR ends one, too."""
    found = _LINE_END.split(text)
    return found if found[-1] else found[:-1]


def _unescape(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for escaped, plain in pairs:
        text = text.replace(escaped, plain)
    return text


_DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
_PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
_OLD = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))


@dataclass(slots=True)
class CommandReader:
    """Reads the output of one step; `masks` are of the whole job."""

    masks: list[str]
    annotations: list[Annotation] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    failed: bool = False
    _stop: str = ""

    def read(self, line: str) -> str:
        """Do what a line commands; returns what the log shows."""
        found = self._parse(line)
        if found is not None:
            self._obey(*found)
        return self.mask(line)

    def mask(self, text: str) -> str:
        """The text without what is secret."""
        for secret in sorted(self.masks, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _known(self, name: str) -> bool:
        return name == self._stop if self._stop else name.lower() in REGISTERED

    def _parse(self, line: str) -> tuple[str, dict[str, str], str] | None:
        text = line.lstrip()
        if text.startswith("::") and (end := text.find("::", 2)) >= 0:
            name, _, rest = text[2:end].partition(" ")
            if self._known(name):
                pairs = (pair.split("=", 1) for pair in rest.strip().split(","))
                properties = {pair[0].strip(): _unescape(pair[1], _PROPERTY) for pair in pairs if len(pair) == 2 and pair[1]}
                return name, properties, _unescape(text[end + 2 :], _DATA)
        # The old form may stand anywhere in a line.
        if (start := line.find("##[")) >= 0 and (end := line.find("]", start)) >= 0:
            name, _, rest = line[start + 3 : end].partition(" ")
            if self._known(name):
                pairs = (pair.split("=", 1) for pair in rest.strip().split(";"))
                return name, {pair[0]: _unescape(pair[1], _OLD) for pair in pairs if len(pair) == 2}, _unescape(line[end + 1 :], _OLD)
        return None

    def _obey(self, name: str, properties: dict[str, str], data: str) -> None:
        if name == self._stop:
            self._stop = ""
            return
        name = name.lower()
        self.commands.append(name)
        if name in ("error", "warning", "notice"):
            line = properties.get("line", "")
            self.annotations.append(
                Annotation(
                    level=name,
                    text=self.mask(data),
                    title=properties.get("title", ""),
                    file=properties.get("file", ""),
                    line=int(line) if line.isdigit() else None,
                )
            )
        elif name == "add-mask":
            if not data.strip():
                self.complaints.append("Can't add secret mask for empty string in ##[add-mask] command.")
            self.masks += [secret for secret in {data, *lines(data)} if secret.strip()]
        elif name == "stop-commands":
            if not data or data.lower() in REGISTERED or data == "pause-logging":
                self._fail(f"Invalid stop-commands token {data!r}")
            else:
                self._stop = data
        elif name == "set-output":
            self.outputs[properties.get("name", "")] = data
        elif name in ("set-env", "add-path"):
            self._fail(f"The `{name}` command is disabled. Please upgrade to using Environment Files.")

    def _fail(self, text: str) -> None:
        self.failed = True
        self.complaints.append(text)


def read_pairs(path: Path) -> dict[str, str]:
    """What GITHUB_OUTPUT or GITHUB_ENV holds: `name=value` and `name<<DELIMITER`; raise WorkflowError in the runner's words."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    found: dict[str, str] = {}
    rest = re.split(r"\r?\n", text.removeprefix("\ufeff"))
    at = 0
    while at < len(rest):
        line, at = rest[at], at + 1
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
            if not name:
                raise WorkflowError(f"Invalid format '{line}'. Name must not be empty")
        elif heredoc >= 0:
            name, _, delimiter = line.partition("<<")
            if not name or not delimiter:
                raise WorkflowError(f"Invalid format '{line}'. Name must not be empty and delimiter must not be empty")
            if delimiter not in rest[at:]:
                raise WorkflowError(f"Invalid value. Matching delimiter not found '{delimiter}'")
            end = rest.index(delimiter, at)
            value, at = "\n".join(rest[at:end]), end + 1
        else:
            raise WorkflowError(f"Invalid format '{line}'")
        found[name] = value
    return found
