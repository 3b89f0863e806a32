"""What a container takes of upstreams: layers of images in registries, looked for only where the cache lacks them."""

from __future__ import annotations

from cachelib.model.container import Part
from cachelib.model.errors import CacheError, RegistryError, UsageError
from cachelib.model.oci import spec_tag
from cachelib.model.ports import Repository
from cachelib.model.spec import Node
from cachelib.model.upstream import Upstream
from cachelib.pipeline.layers import open_registry, upstreams_of
from cachelib.pipeline.workspace import Workspace
from cachelib.steps.licensing import withheld
from cachelib.steps.reading import catalog_entry, open_image
from cachelib.steps.recalling import published_package, told_of

_HINT = "`inv pull --out` it, or build and push it with this cache: `inv push --with-upstream`"


class Lender:
    """The upstreams of the cache's images, each read once, when something of it is needed."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._upstreams: dict[str, tuple[Upstream, ...]] = {}
        #: The registries that lent something, by address.
        self.repositories: dict[str, Repository] = {}

    def lend(self, image: str, node: Node) -> Part | None:
        """The layer of a node that an upstream of an image has; nothing where none has it, CacheError where it can't be had."""
        if image not in self._upstreams:
            self._upstreams[image] = upstreams_of(self._ws, image)
        urls = [one.url for one in self._upstreams[image] if node.hash in one.offers]
        registries = [url for url in urls if url.startswith("oci")]
        if not urls:
            return None
        if not registries:
            raise UsageError(f"which is upstream in {urls[0]}, where builds are no layers", hint=_HINT)
        for url in registries:
            try:
                return self._read(url, image, node)
            except RegistryError as error:
                failed = RegistryError(f"which upstream {url} has, and can't give: {error.message}", hint="try again later")
        raise failed

    def _read(self, url: str, image: str, node: Node) -> Part:
        repository = self.repositories.get(url) or open_registry(self._ws, url)
        tag = spec_tag(node.name, node.version, node.hash)
        try:
            found = open_image(repository, tag)
        except CacheError as error:
            raise RegistryError(error.message) from None
        # Put into a container it is this cache that gives it away.
        record = self._ws.mirror(image).record(node.hash)
        package = record.package if record is not None else published_package(told_of(found.manifest, found.config))
        builder = record.origin.stack if record is not None else ""
        if reason := withheld(package, self._ws.settings.stacks.get(builder, self._ws.images()[image][1]).licenses):
            raise UsageError(f"which is upstream in {url}, and may not be given away: {reason}", hint="leave out what needs it")
        self.repositories[url] = repository
        return Part(image=url, label=node.label, entry=catalog_entry(tag, found), upstream=True)
