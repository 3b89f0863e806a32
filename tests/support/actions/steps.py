"""Runs the steps of a job, and those of composite actions within."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.actions.commands import CommandReader, lines, read_pairs
from tests.support.actions.control import Process
from tests.support.actions.expressions import Scope, condition, evaluate
from tests.support.actions.loading import load_action
from tests.support.actions.records import StepResult
from tests.support.actions.settings import Origin, StepInfo, read_uses
from tests.support.actions.state import ActionError
from tests.support.actions.values import CaseSensitive, Value, WorkflowError, is_number, to_text

if TYPE_CHECKING:
    from tests.support.actions.job import JobRunner

#: Docs, Workflow syntax, jobs.<job_id>.steps[*].shell; in a container it is `sh` where none is named.
SHELLS = {
    "": "bash -e {0}",
    "bash": "bash --noprofile --norc -eo pipefail {0}",
    "sh": "sh -e {0}",
    "python": "python {0}",
}
_COMPOSITE = ("github", "inputs", "strategy", "matrix", "job", "runner", "steps", "env")
SUMMARY_LIMIT = 1024 * 1024


@dataclass(slots=True)
class Frame:
    """A list of steps at its place: a job, or a composite action."""

    origin: Origin
    inputs: Mapping[str, Value]
    env: dict[str, str] = field(default_factory=dict)
    steps: dict[str, Value] = field(default_factory=dict)
    action_path: Path | None = None
    action: str = ""
    failed: bool = False

    @property
    def composite(self) -> bool:
        """Whether it is an action."""
        return self.action_path is not None


class StepRunner:
    """One step at its place; `reader` holds what its output said."""

    def __init__(self, job: JobRunner, frame: Frame, raw: Mapping[str, Value], number: int) -> None:
        self.job, self.frame, self.raw, self.number = job, frame, raw, number
        self.reader = CommandReader(job.masks)
        self.inputs: dict[str, str] = {}
        self.outputs: dict[str, str] = {}
        self.log: list[str] = []
        self.summaries: list[str] = []
        self.inner: list[StepResult] = []
        self.env: dict[str, str] = {}
        self.after_cancel = False
        self.id = str(raw.get("id") or "")
        self.info = StepInfo(
            number=number,
            id=self.id,
            name=self._default_name(),
            uses=str(raw.get("uses", "")),
            run=str(raw.get("run", "")),
            workspace=job.workspace,
            attempt=job.shared.run.attempt,
        )

    def _default_name(self) -> str:
        if self.raw.get("name"):
            return to_text(self.raw["name"])
        first = to_text(self.raw.get("run", "")).strip().splitlines()
        return f"Run {self.raw['uses'] if 'uses' in self.raw else first[0] if first else ''}"

    def scope(self) -> Scope:
        """What the step's expressions see."""
        job, frame = self.job, self.frame
        contexts = job.contexts() | {
            "steps": frame.steps,
            "inputs": frame.inputs,
            "env": CaseSensitive({**job.env, **frame.env, **self.env}),
        }
        if frame.action_path:
            contexts["github"] = contexts["github"] | {"action_path": str(frame.action_path), "action_repository": frame.origin.name}
            contexts = {key: contexts[key] for key in _COMPOSITE}
        cancelled = job.control.cancelled
        status = {
            "success": lambda: not frame.failed and not cancelled,
            "failure": lambda: frame.failed and not cancelled,
            "cancelled": lambda: cancelled,
            "always": lambda: True,
        }
        return Scope(contexts, status, job.workspace)

    def run(self) -> StepResult:
        """Run it, if its `if` says so."""
        tolerant, code = False, ""
        self.after_cancel = self.job.control.cancelled
        try:
            own = evaluate(self.raw.get("env") or {}, self.scope())
            self.env = {key: to_text(value) for key, value in own.items()}
            visible = self.scope()
            # Secrets and the token have no place in a condition.
            hidden = Scope({key: value for key, value in visible.contexts.items() if key != "secrets"}, visible.status, visible.workspace)
            if not condition(self.raw.get("if"), hidden):
                return self._end("skipped", tolerant=False)
            self.info = replace(self.info, name=self._name())
            self._hook_before()
            if self.job.control.killed:
                return self._end("cancelled", tolerant=False)
            tolerant = evaluate(self.raw.get("continue-on-error", False), visible) is True
            code = self._do()
        except (WorkflowError, ActionError) as error:
            self.complain(str(error))
            code = "failure"
        return self._end(code, tolerant=tolerant)

    def _name(self) -> str:
        return to_text(evaluate(self.info.name, self.scope())).strip()

    def _hook_before(self) -> None:
        if (hook := self.job.shared.settings.before_step) and not self.frame.composite:
            hook(self.job.name, self.info)

    def _end(self, outcome: str, *, tolerant: bool) -> StepResult:
        conclusion = "success" if outcome == "failure" and tolerant else outcome
        self.frame.failed |= conclusion == "failure"
        if self.id:
            self.frame.steps[self.id] = {"outputs": dict(self.outputs), "outcome": outcome, "conclusion": conclusion}
        inner = self.inner
        result = StepResult(
            name=self.info.name,
            id=self.id,
            outcome=outcome,
            conclusion=conclusion,
            log="".join(self.log),
            outputs=dict(self.outputs),
            annotations=(*self.reader.annotations, *(one for step in inner for one in step.annotations)),
            commands=(*self.reader.commands, *(one for step in inner for one in step.commands)),
            complaints=(*self.reader.complaints, *(one for step in inner for one in step.complaints)),
            summary="\n".join(self.summaries),
            steps=tuple(inner),
        )
        if (hook := self.job.shared.settings.after_step) and outcome != "skipped" and not self.frame.composite:
            hook(self.job.name, self.info, outcome)
        return result

    def complain(self, text: str) -> None:
        """What the runner says of the step."""
        self.reader.complaints.append(self.reader.mask(text))
        self.log.append(self.reader.mask(f"{text}\n"))

    def _seconds(self) -> float | None:
        minutes = evaluate(self.raw.get("timeout-minutes"), self.scope())
        if minutes is None:
            return None
        if not is_number(minutes) or minutes != int(minutes) or minutes < 1:
            raise WorkflowError(f"timeout-minutes: {minutes!r} is no positive whole number")
        return float(minutes) * self.job.shared.settings.minute

    def _do(self) -> str:
        if "run" in self.raw:
            return self._program()
        uses, settings = str(self.raw["uses"]), self.job.shared.settings
        self._seconds()
        self.inputs = {key: to_text(value) for key, value in evaluate(self.raw.get("with") or {}, self.scope()).items()}
        if uses.startswith("./"):
            # Of the workspace, wherever it is written: who wants it must have checked it out.
            return self._composite(self.job.workspace / uses, self.frame.origin, uses)
        found = read_uses(uses, self.frame.origin, settings)
        if found:
            origin, path = found
            return self._composite(self.job.provide(origin) / path, origin, uses)
        from tests.support.actions.standins import Call  # the stand-ins know the steps

        settings.standins[uses.partition("@")[0]](Call(self))
        return "cancelled" if self.job.control.killed else "success"

    def _composite(self, folder: Path, origin: Origin, uses: str) -> str:
        action = load_action(folder, uses)
        known = action.get("inputs") or {}
        names = {str(name).lower(): str(name) for name in known}
        for name in self.inputs:
            if name.lower() not in names:
                self.complain(f"Unexpected input(s) '{name}', valid inputs are {sorted(names.values())}")
        given = {names[name.lower()]: value for name, value in self.inputs.items() if name.lower() in names}
        base = Scope({key: value for key, value in self.scope().contexts.items() if key in _COMPOSITE and key != "steps"})
        inputs = {name: given.get(name, to_text(evaluate((spec or {}).get("default"), base))) for name, spec in known.items()}
        frame = Frame(origin, inputs, {**self.frame.env, **self.env}, action_path=folder, action=uses)
        for number, raw in enumerate(action["runs"]["steps"], 1):
            step = StepRunner(self.job, frame, raw, number)
            self.inner.append(step.run())
            self.log += step.log
            self.summaries += step.summaries
            if self.job.control.killed:
                return "cancelled"
        after = StepRunner(self.job, frame, {}, 0).scope()
        for name, spec in (action.get("outputs") or {}).items():
            self.outputs[name] = to_text(evaluate((spec or {}).get("value"), after))
        cancelled = any(step.outcome == "cancelled" for step in self.inner)
        return "failure" if frame.failed else "cancelled" if cancelled else "success"

    def _program(self) -> str:
        job, scope = self.job, self.scope()
        text = to_text(evaluate(self.raw["run"], scope))
        defaults = {} if self.frame.composite else job.defaults
        shell = to_text(evaluate(self.raw.get("shell", defaults.get("shell", "")), scope))
        if not shell and job.container:
            shell = "sh"
        if shell not in SHELLS and "{0}" not in shell:
            raise WorkflowError(f"Invalid shell option {shell!r}. Shell must be a valid built-in or a format string containing '{{0}}'")
        folder = job.workspace / to_text(evaluate(self.raw.get("working-directory", defaults.get("working-directory", "")), scope))
        if not folder.is_dir():
            raise WorkflowError(f"An error occurred trying to start process with working directory '{folder}'. No such file or directory")
        script = job.temp / f"{uuid.uuid4()}{'.py' if shell == 'python' else '.sh'}"
        script.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
        files = {
            name: job.temp / "_runner_file_commands" / f"{name.lower()}_{uuid.uuid4()}"
            for name in ("OUTPUT", "ENV", "PATH", "STEP_SUMMARY", "STATE")
        }
        for path in files.values():
            path.parent.mkdir(exist_ok=True)
            path.touch()
        env = job.process_env({**self.frame.env, **self.env}) | {f"GITHUB_{name}": str(path) for name, path in files.items()}
        env["GITHUB_ACTION"] = self.id or f"__run_{self.number}"
        if self.frame.action_path:
            env |= {"GITHUB_ACTION_PATH": str(self.frame.action_path), "GITHUB_ACTION_REPOSITORY": self.frame.origin.name}
        command = [part.replace("{0}", str(script)) for part in shlex.split(SHELLS.get(shell, shell))]
        code = self._wait(command, folder, env)
        return self._files(files, code)

    def _wait(self, command: list[str], folder: Path, env: dict[str, str]) -> str:
        job, settings, seconds = self.job, self.job.shared.settings, self._seconds()

        def read(data: bytes) -> None:
            for line in lines(data.decode("utf-8", errors="replace")):
                self.log.append(self.reader.read(line) + "\n")
                if settings.on_line:
                    settings.on_line(job.name, self.info, line)

        if job.container:
            command, env = job.container.command(command, folder, env)
        try:
            process = Process(command, folder, env, settings.grace, after_cancel=self.after_cancel)
        except OSError as error:
            raise WorkflowError(f"{command[0]}: {error.strerror}") from None
        with job.control.holding(process):
            code = process.wait(read, seconds)
        if job.control.killed or process.stopped == "cancelled":
            self.complain("The operation was canceled.")
            return "cancelled"
        if process.stopped:
            self.complain(f"The action '{self.info.name}' has timed out after {self.raw['timeout-minutes']} minutes.")
            return "failure"
        if code:
            self.complain(f"Process completed with exit code {code if code > 0 else 128 - code}.")
        return "failure" if code or self.reader.failed else "success"

    def _files(self, files: dict[str, Path], code: str) -> str:
        job = self.job
        if job.control.killed:
            return code
        self.outputs |= self.reader.outputs
        for name in ("ENV", "OUTPUT"):
            try:
                pairs = read_pairs(files[name])
                if name == "ENV" and "NODE_OPTIONS" in {key.upper() for key in pairs}:
                    raise WorkflowError("Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.")
                (job.env if name == "ENV" else self.outputs).update(pairs)
            except WorkflowError as error:
                self.complain(f"Unable to process file command '{name.lower()}' successfully.")
                self.complain(str(error))
                code = "failure"
        job.path[:0] = [line for line in reversed(files["PATH"].read_text(encoding="utf-8").splitlines()) if line]
        summary = files["STEP_SUMMARY"].read_bytes()
        if len(summary) > SUMMARY_LIMIT:
            self.complain(f"$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got {len(summary) // 1024}k.")
        elif summary:
            self.summaries.append(self.reader.mask(summary.decode("utf-8", errors="replace")))
        return code
