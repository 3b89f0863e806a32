"""A piece of Markdown that an owner pastes into a README: what there is, how it is used, and where it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from cachelib.model.config import Site
from cachelib.model.ports import File
from cachelib.model.site import Contents, SiteImage
from cachelib.model.text import markdown
from cachelib.steps.compatibility import Compatibility, compatibility


def readme_files(site: Site, contents: Contents) -> Iterator[File]:
    """`readme.md` of each image."""
    found = compatibility(contents)
    for image in contents.images:
        yield PurePosixPath(image.name, "readme.md"), readme(site, image, [one for one in found if one.image == image.name]).encode()


def readme(site: Site, image: SiteImage, runs_on: list[Compatibility]) -> str:
    """The Markdown of one image."""
    count = len(image.catalog.entries)
    binaries = f"{count} {'binary' if count == 1 else 'binaries'}"
    lines = [f"## Binaries for Spack ({markdown(image.name)})", "", f"[{binaries}]({site.url})" if site.url else binaries]
    lines[-1] += " that stock Spack installs without compiling:"
    lines += ["", "```console", f"$ spack mirror add --unsigned cache-{image.name} {image.mirror_url}", "```", ""]
    for one in runs_on:
        stack = f"**{markdown(one.stack)}**: " if one.stack else ""
        lines.append(f"- {stack}{_plain(one.words)}")
    return "\n".join(lines).rstrip() + "\n"


def _plain(words: str) -> str:
    """A sentence in Markdown, whose brackets stay readable: a round one makes no link where no square one is before it."""
    return markdown(words).replace("&#40;", "(").replace("&#41;", ")").replace("&#95;", "_").replace("&#58; ", ": ")
