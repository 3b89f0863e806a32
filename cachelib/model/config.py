"""The settings of a cache, as frozen values; the field metadata is the one source of the JSON Schema and of the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cachelib.model.container import Container
from cachelib.model.setting import LINE, NAME, TAG, doc
from cachelib.model.stack import Stack

# What pages and feeds tell: XML holds no control characters, UTF-8 no halves of surrogate pairs, and nothing turns the direction of a page.
_TOLD = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+$(?!\n)"
_WEB = r"^https?://[!-~]+$(?!\n)"
_COLOR = r"^#[0-9a-fA-F]{6}$(?!\n)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How the website presents itself."""

    title: str = field(default="Spack build cache", metadata=doc("Title of the website.", pattern=_TOLD, minLength=1, maxLength=200))
    description: str = field(
        default="Binary packages that stock Spack installs.", metadata=doc("One sentence below the title.", pattern=_TOLD, maxLength=1000)
    )
    url: str = field(
        default="", metadata=doc("Where the site is served, such as https://OWNER.github.io/REPO.", pattern=_WEB, maxLength=1000)
    )
    color: str = field(default="", metadata=doc("Colour of links and bars on a light ground, such as #0b6e63.", pattern=_COLOR))
    color_dark: str = field(default="", metadata=doc("The same on a dark ground.", pattern=_COLOR))
    templates: str = field(
        default="",
        metadata=doc(
            "Folder beside cache.yaml whose files take the place of those of templates/ of the same name, such as site/base.html.",
            pattern=LINE,
        ),
    )
    docs: bool = field(
        default=True, metadata=doc("Whether the documentation goes with the site, below docs/, where the workflows deploy it.")
    )
    keys: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Web addresses of further public keys, beside those in keys/, that sign mirrors made from this cache; the API tells them.",
            item={"type": "string", "pattern": _WEB, "maxLength": 1000},
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of cache.yaml."""

    stacks: Mapping[str, Stack] = field(
        metadata=doc("The stacks, by name. The first one is built where no --stack is given.", minProperties=1, key=NAME)
    )
    registry: str = field(
        default="",
        metadata=doc(
            "Where binaries are published: oci://HOST/NAME, or oci-layout:DIR relative to cache.yaml. Each stack's image name is appended. "
            "Where it is left out: on GitHub Actions ghcr.io, by the repository's own name; elsewhere the directory var/registry.",
            pattern=r"^(oci|oci\+http)://[^\s]+$|^oci-layout:[^\s]+$(?!\n)",
        ),
    )
    source: str = field(
        default="",
        metadata=doc(
            "Web address of the repository that owns the cache; ghcr.io links its packages to it. On GitHub Actions it is known.",
            pattern=r"^https?://[^\s]+$(?!\n)",
        ),
    )
    vendor: str = field(default="", metadata=doc("Who distributes the binaries, for the images' labels.", pattern=LINE))
    requests_per_second: float = field(
        default=0,
        metadata=doc(
            "Requests a second to the registry; 0 is what is known of it: 32.5 for ghcr.io, no limit elsewhere.", minimum=0, maximum=10000
        ),
    )
    containers: Mapping[str, Container] = field(
        default_factory=dict,
        metadata=doc("Containers that `inv container`, and each run that publishes, makes of builds of this cache, by name.", key=NAME),
    )
    tags: Mapping[str, str] = field(
        default_factory=dict,
        metadata=doc(
            "Tags of your own: what each names, as after `spack install`. Of what is published it is the newest build that fits, "
            "also after each run that publishes.",
            key=TAG,
        ),
    )
    sbom: bool = field(
        default=False,
        metadata=doc(
            "Whether each run that publishes attaches a bill of materials (SPDX 2.3) to every image that has none: four requests "
            "and a tag of the registry an image."
        ),
    )
    provenance: bool = field(
        default=False,
        metadata=doc(
            "Whether each run that publishes puts what GitHub attested of an image beside it, as a referrer: three requests and a tag of "
            "the registry an image. The attestations themselves are made without it, too."
        ),
    )
    site: Site = field(default_factory=Site, metadata=doc("The website."))

    @property
    def default_stack(self) -> str:
        """The stack that is meant where none is named."""
        return next(iter(self.stacks))
