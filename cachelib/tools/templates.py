"""Renders the files of `templates/`: jinja2, every value escaped, an unknown name an error."""

from __future__ import annotations

import traceback
from pathlib import Path

import jinja2

from cachelib.model.errors import RenderError
from cachelib.model.quantity import human_bytes, human_seconds

#: What a template can do wrong: as jinja2 sees it, or as the Python in it does.
_WRONG = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError, RecursionError)


class JinjaTemplates:
    """Templates in a folder; folders before it are looked in first, so that single files can be overridden."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader([str(folder) for folder in folders]),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._jinja.filters |= {"bytes": human_bytes, "seconds": human_seconds}

    def render(self, name: str, values: dict[str, object]) -> bytes:
        """Render a template; raise RenderError naming the file and what is wrong in it."""
        try:
            return self._jinja.get_template(name).render(values).encode("utf-8", "replace")
        except _WRONG as error:
            raise RenderError(f"template {name}: {self._where(error)}{_reason(error)}", hint="templates lie in templates/site") from None

    def _where(self, error: BaseException) -> str:
        """The file and the line that an error is of, as far as it tells: mostly not of the template that was asked for, but of its base."""
        if isinstance(error, jinja2.TemplateSyntaxError):
            return f"{error.filename or error.name}:{error.lineno}: "
        # jinja2 gives the frames of a traceback the names and lines of the templates that they come from.
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        ours = [f"{file}:{line}: " for file, line in frames if any(Path(file).is_relative_to(folder) for folder in self._folders)]
        return ours[-1] if ours else ""

    def asset(self, name: str) -> bytes:
        """A file that is copied as it is."""
        for folder in self._folders:
            if (folder / name).is_file():
                return (folder / name).read_bytes()
        raise RenderError(f"the file {name} is missing from the templates")


def _reason(error: BaseException) -> str:
    """What is wrong, in the words of jinja2, or of Python with the kind of the error."""
    told = isinstance(error, jinja2.TemplateError) and str(error.message or error)
    return told or f"{type(error).__name__}: {error}"
