"""Renders the files of `templates/`: jinja2, every value escaped, an unknown name an error."""

from __future__ import annotations

from pathlib import Path

import jinja2

from cachelib.model.errors import RenderError
from cachelib.model.quantity import human_bytes, human_seconds


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
        except jinja2.TemplateError as error:
            raise RenderError(f"template {name}: {error}", hint="templates lie in templates/site") from None

    def asset(self, name: str) -> bytes:
        """A file that is copied as it is."""
        for folder in self._folders:
            if (folder / name).is_file():
                return (folder / name).read_bytes()
        raise RenderError(f"the file {name} is missing from the templates")
