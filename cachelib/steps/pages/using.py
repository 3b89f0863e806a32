"""How an image is used, in lines to copy; and the same as files to fetch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from cachelib.model.ports import File
from cachelib.model.site import Build, Contents, SiteImage
from cachelib.model.upstream import Upstream, upstream_mirrors
from cachelib.steps.compatibility import Compatibility, compatibility
from cachelib.steps.image import TITLE

#: Kinds of machines that the front page names at most.
_MACHINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A way to use an image: what it is called, a sentence on it, and the text to copy."""

    id: str
    title: str
    about: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontImage:
    """An image as the front page shows it: how much it holds, for which machines, and how it is used."""

    name: str
    builds: int
    machines: tuple[str, ...]
    runs_on: tuple[Compatibility, ...]
    snippets: tuple[Snippet, ...]
    upstreams: tuple[Upstream, ...] = ()


def front_images(contents: Contents) -> tuple[FrontImage, ...]:
    """All images, as the front page shows them."""
    found: dict[str, list[Build]] = {image.name: [] for image in contents.images}
    for package in contents.packages:
        for build in package.builds:
            found[build.image].append(build)
    runs_on = compatibility(contents)
    return tuple(
        FrontImage(
            name=image.name, builds=len(found[image.name]),
            runs_on=tuple(one for one in runs_on if one.image == image.name)[:_MACHINES],
            machines=tuple(sorted({f"{build.os} {build.target}" for build in found[image.name]}))[:_MACHINES],
            snippets=snippets(image, max(found[image.name], key=lambda build: (build.created, build.hash), default=None)),
            upstreams=image.upstreams,
        )
        for image in contents.images
    )  # fmt: skip


def every_upstream(contents: Contents) -> tuple[Upstream, ...]:
    """The upstreams of all images, each once, in the order in which images name them."""
    return tuple({one.url: one for image in contents.images for one in image.upstreams}.values())


def snippets(image: SiteImage, newest: Build | None) -> tuple[Snippet, ...]:
    """The ways to use an image; those for one build name the `newest` of it."""
    # Spack puts a mirror that is added before the others: the image's own comes last, to be asked first.
    added = reversed(_mirrors(image).items())
    several = "".join(f"\n      {url}" for url in _mirrors(image).values())
    unsigned = " Spack checks digests, and no signatures in registries: hence --unsigned." if image.mirror_url.startswith("oci") else ""
    found = [
        Snippet(
            id="spack", title="Command line",
            about=f"Tell Spack where the binaries are, once. Then spack install takes what is here.{unsigned}",
            text="\n".join(f"spack mirror add --unsigned {name} {url}" for name, url in added),
        ),
        Snippet(id="environment", title="spack.yaml", about="In the spack.yaml of an environment.", text=environment_file(image)),
        Snippet(
            id="action", title="GitHub Action", about="A step that installs Spack, with this cache as its mirror.",
            text="- uses: spack-cache/spack-cache/.github/actions/setup@v1\n  with:\n    cache: "
            + (f"|{several}" if image.upstreams else image.mirror_url),
        ),
    ]  # fmt: skip
    if newest is not None and image.mirror_url.startswith("oci://"):
        if newest.base:
            about = f"Run {newest.name}@{newest.version} as a container; each build has an image of its own."
            found.append(Snippet(id="podman", title="podman", about=about, text=f"podman run --rm -it {newest.reference}"))
        about = f"Fetch the binary of {newest.name}@{newest.version} without Spack."
        entry = image.catalog.entries[newest.hash]
        file, place = f"{entry.tag.removesuffix('.spack')}.tar.gz", newest.reference.rpartition(":")[0]
        # `oras pull` passes over layers without a title, as older images have them.
        named = TITLE in entry.tarball.annotations
        text = f"oras pull {newest.reference}" if named else f"oras blob fetch --output {file} {place}@{entry.tarball.digest}"
        found.append(Snippet(id="oras", title="oras", about=about, text=text))
    return tuple(found)


def environment_file(image: SiteImage) -> str:
    """A spack.yaml that has the image as its mirror."""
    return f"spack:\n{_mirrors_yaml(image, '  ')}"


def mirror_files(images: Iterable[SiteImage]) -> Iterator[File]:
    """The same as files: `mirrors.yaml` for a scope of Spack's configuration, `spack.yaml` for an environment."""
    for image in images:
        yield PurePosixPath(image.name, "mirrors.yaml"), f"{_mirrors_yaml(image)}\n".encode()
        yield PurePosixPath(image.name, "spack.yaml"), f"{environment_file(image)}\n  specs: []\n".encode()


def _mirrors(image: SiteImage) -> dict[str, str]:
    """The mirrors that a client needs, in the order in which it is to ask them."""
    name = f"cache-{image.name}"
    return {name: image.mirror_url} | upstream_mirrors([one.url for one in image.upstreams], f"{name}-upstream")


def _mirrors_yaml(image: SiteImage, indent: str = "") -> str:
    lines = (f"{indent}  {_quoted(name)}:\n{indent}    url: {url}\n{indent}    signed: false" for name, url in _mirrors(image).items())
    return "\n".join((f"{indent}mirrors:", *lines))


def _quoted(name: str) -> str:
    """A key of YAML: the names of images are letters, digits, dots and dashes, and still YAML could take one for a number."""
    return name if name[:1].isalpha() else json.dumps(name)
