"""What a diagnosis makes of a registry: who may read it, whether the login is good, whether the index is as new as the tags."""

from __future__ import annotations

from dataclasses import dataclass

from cachelib.model.catalog import CatalogRoot, by_shard, shard_width, tags_digest
from cachelib.model.check import Check, ok, problem, unchecked, warning
from cachelib.model.errors import CacheError, CatalogError, FormatError, RegistryError
from cachelib.model.oci import is_spec_tag
from cachelib.model.ports import Repository
from cachelib.steps import artifacts
from cachelib.steps.catalog_check import check_index

_VISIBILITY = "package settings, Danger Zone, Change visibility: public"
_LOGIN = "https://docs.github.com/en/packages/working-with-a-github-packages-registry/working-with-the-container-registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An image of the registry: its name, and on GitHub the page of its package."""

    image: str
    page: str = ""


def is_denial(found: frozenset[str] | RegistryError) -> bool:
    """Whether a registry refuses to be read; GitHub tells its rate limits as a 403 too."""
    return isinstance(found, RegistryError) and found.status in (401, 403) and not found.temporary


def reading_check(
    place: Place, anonymous: frozenset[str] | RegistryError, member: frozenset[str] | RegistryError | None, *, known: bool
) -> Check:
    """Whether anybody may pull. Each is the tags that are seen, or the refusal: as anybody, and with a login where there is one.

    `known` says that GitHub knows the package. A registry refuses what isn't there as it refuses what is private.
    """
    what = f"public reading of {place.image}"
    if not isinstance(anonymous, RegistryError):
        return ok(what, "anybody may pull" if anonymous else "nothing is published yet")
    if not is_denial(anonymous):
        return unchecked(what, anonymous.message)
    remedy = _VISIBILITY if place.page else "let the registry serve it to anybody, or tell users to log in"
    if known or (member and isinstance(member, frozenset)):
        return problem(what, RegistryError, "it is private: pulls without a login are denied", remedy, place.page)
    if isinstance(member, frozenset):
        return ok(what, "nothing is published yet")
    return warning(what, "pulls without a login are denied: it is private, or nothing is published yet", remedy, place.page)


def login_check(host: str, source: str, taken: bool | RegistryError | None, *, on_github: bool) -> Check:
    """Whether a push could log in; `source` says where the login was found, `taken` what the registry made of it."""
    what = f"login to {host}"
    remedy = f"`docker login {host}` or `podman login {host}`; in a job on GitHub, pass GITHUB_TOKEN with `permissions: packages: write`"
    if not source:
        words = "none is found: reading needs none, a push does"
        return warning(what, words, remedy, _LOGIN) if on_github else ok(what, "none is found; whether a push needs one isn't known")
    if isinstance(taken, RegistryError):
        return unchecked(what, taken.message)
    if taken is None:
        return ok(what, f"found in {source}; the registry asks for none")
    if taken:
        return ok(what, f"found in {source}, and taken")
    return problem(what, RegistryError, f"what is found in {source} is refused", f"log in anew: {remedy}", _LOGIN if on_github else "")


def index_check(image: str, repository: Repository, tags: frozenset[str], *, jobs: int) -> Check:
    """Whether catalog and Spack's index tell of what is published."""
    what = f"index of {image}"
    published = frozenset(filter(is_spec_tag, tags))
    if not tags:
        return ok(what, "nothing is published yet", "`inv push`, then `inv index`")
    try:
        held = artifacts.read_root(repository)
        if held is None:
            missing = f"index stale: there is no catalog, so clients see none of {len(published)} images"
            return problem(what, CatalogError, missing, "run `inv index`")
        for finding in check_index(repository, held.root):
            return problem(what, CatalogError, f"index stale: {finding.where}: {finding.problem}", finding.remedy)
        new, gone = _differences(repository, held.root, published, jobs)
    except RegistryError as error:
        return unchecked(what, error.message)
    except (CatalogError, FormatError) as error:
        return problem(what, CatalogError, error.message, error.hint or "run `inv index --full`")
    except CacheError as error:
        return unchecked(what, error.message)
    if new or gone:
        words = " and ".join(_counted(tags, told) for tags, told in ((new, "lacks"), (gone, "names what is gone:")) if tags)
        # Between a push and its index that is so for a moment, and a broken tag stays out for ever: no failure.
        return warning(what, f"index stale: it {words}", "run `inv index`; where it passes a tag over, it says why")
    return ok(what, f"it tells of all {len(published)} images")


def _counted(tags: list[str], told: str) -> str:
    return f"{told} {tags[0]}" + (f" and {len(tags) - 1} more" if len(tags) > 1 else "")


def _differences(repository: Repository, root: CatalogRoot, published: frozenset[str], jobs: int) -> tuple[list[str], list[str]]:
    """The tags that the catalog doesn't tell of, or not truly any more, and those that it tells of and are gone."""
    groups = by_shard(published, shard_width(root.count))
    keys = groups.keys() | root.shards.keys()
    touched = {key for key in keys if key not in root.shards or root.shards[key].tags != tags_digest(groups.get(key, ()))}
    entries = artifacts.read_shards(repository, root, touched & root.shards.keys(), jobs=jobs)
    there = {tag for key in touched for tag in groups.get(key, ())}
    told = {entry.tag: entry.stale for entry in entries.values()}
    new = sorted(tag for tag in there if told.get(tag, True))
    return new, sorted(told.keys() - there)
