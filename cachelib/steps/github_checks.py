"""What a diagnosis makes of what GitHub tells of a repository and of its packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cachelib.model.check import Check, Unknown, ok, problem, unchecked, warning
from cachelib.model.errors import GitHubError
from cachelib.model.github import GitHubFacts, GitHubRepository, Package, PagesSite, Token, Workflow

_DOCS = "https://docs.github.com/en"
_VISIBILITY = f"{_DOCS}/packages/learn-github-packages/configuring-a-packages-access-control-and-visibility"
_TOKENS = f"{_DOCS}/packages/learn-github-packages/about-permissions-for-github-packages"
_WRITE = "write:packages"


def github_checks(facts: GitHubFacts, *, asked: str, home: str, site: str, on_github: bool, pages: Mapping[str, str]) -> Iterator[Check]:
    """All of them. `asked` is OWNER/NAME, `home` its web address, `site` that of the site in cache.yaml, `pages` those of packages."""
    yield repository_check(facts.repository, asked, home, token=facts.token)
    yield from token_checks(facts.token, on_github=on_github)
    found = facts.repository
    if not isinstance(found, GitHubRepository):
        yield unchecked("Pages, workflows, permissions", "the repository can't be seen")
    else:
        yield pages_check(facts.pages, found, home, site)
        yield from workflow_checks(facts.workflows, home)
        yield permissions_check(facts.default_permissions, home)
    for image, package in facts.packages.items():
        yield from package_checks(image, package, found.name if isinstance(found, GitHubRepository) else asked, pages.get(image, ""))


def repository_check(found: GitHubRepository | Unknown | None, asked: str, home: str, *, token: Token | None) -> Check:
    """Whether the repository is there, under this name, and takes pushes."""
    what = f"repository {asked}"
    match found:
        case Unknown():
            return unchecked(what, found)
        case None if token is None:
            words = "GitHub doesn't show it to strangers: there is none, or it is private"
            return warning(what, words, "mend the remote origin, or set GITHUB_TOKEN or GH_TOKEN so that it can be seen", home)
        case None:
            words = "GitHub knows no such repository, or doesn't show it to this token"
            return problem(what, GitHubError, words, "mend the remote origin (git remote set-url origin), or give the token access", home)
    if found.archived:
        return problem(what, GitHubError, "it is archived: no workflow runs", "unarchive it in its settings", f"{home}/settings")
    if found.name.lower() != asked.lower():
        return warning(
            what, f"it is called {found.name} now", "git remote set-url origin, and mend `source` and `registry` in cache.yaml", home
        )
    if found.private:
        words = "it is private: so are the packages that it makes, and Pages need a paid plan"
        return warning(what, words, "make it public, if the cache is to be", f"{home}/settings")
    return ok(what, f"it is public; schedules run on {found.default_branch}")


def token_checks(token: Token | None, *, on_github: bool) -> Iterator[Check]:
    """Whether the token of the API is taken, and may write packages."""
    if token is None:
        yield unchecked("token", "none is found: set GITHUB_TOKEN or GH_TOKEN to have packages and permissions looked at")
    elif token.accepted is None:
        yield unchecked("token", f"found in {token.source}; GitHub couldn't be asked whether it is good")
    elif not token.accepted:
        remedy = "make a new one, or unset it; a job's GITHUB_TOKEN dies with its job"
        yield problem("token", GitHubError, f"GitHub refuses the one in {token.source}", remedy, "https://github.com/settings/tokens")
    elif token.kind == "fine-grained":
        words = f"the one in {token.source} is fine-grained: GitHub's packages take classic ones alone"
        yield (
            warning("token", words, "publish from a workflow, or with a classic token that has write:packages", _TOKENS)
            if on_github
            else ok("token", f"found in {token.source}, and taken")
        )
    elif token.scopes is None:
        yield ok("token", f"found in {token.source}, and taken")
        if on_github:
            why = "GitHub doesn't tell what this kind of token may do; a job that publishes needs `permissions: packages: write`"
            yield unchecked("packages: write", why)
    elif on_github and _WRITE not in token.scopes:
        words = f"token without packages:write: the one in {token.source} has the scopes {', '.join(sorted(token.scopes)) or '(none)'}"
        yield problem("token", GitHubError, words, f"give it the scope {_WRITE}", "https://github.com/settings/tokens")
    else:
        yield ok("token", f"found in {token.source}, and taken" + (f", with {_WRITE}" if _WRITE in token.scopes else ""))


def pages_check(found: PagesSite | Unknown | None, repository: GitHubRepository, home: str, site: str) -> Check:
    """Whether Pages serves what a workflow deploys."""
    what, link = "Pages", f"{home}/settings/pages"
    choose = "settings, Pages, Build and deployment, Source: GitHub Actions"
    match found:
        case Unknown():
            return unchecked(what, found)
        case None if repository.has_pages:
            return unchecked(what, "they are on, but GitHub tells no more of them to this token (it needs `pages: read`)")
        case None:
            return problem(what, GitHubError, "Pages off: a site that a workflow deploys is served nowhere", choose, link)
    if not found.build_type:
        return unchecked(what, "they are on, but GitHub doesn't say what builds them")
    if found.build_type != "workflow":
        words = "Pages not by Actions: they are built from a branch, not from what a workflow deploys"
        return problem(what, GitHubError, words, choose, link)
    if found.domain and found.https is False:
        return warning(what, f"{found.domain} is served without https", "settings, Pages, Enforce HTTPS", link)
    if site and found.url and _plain(site) != _plain(found.url):
        remedy = f"in cache.yaml, write `url: {found.url}` below `site`"
        return warning(what, f"they are at {found.url}, but cache.yaml says {site}", remedy, link)
    return ok(what, f"{found.url or 'on'}, deployed by workflows")


def _plain(url: str) -> str:
    return url.partition("://")[2].rstrip("/").lower()


def workflow_checks(found: tuple[Workflow, ...] | Unknown, home: str) -> Iterator[Check]:
    """Whether workflows run."""
    if isinstance(found, Unknown):
        yield unchecked("workflows", found)
        return
    if not found:
        yield warning("workflows", "there are none: nothing builds by itself", "add one below .github/workflows", f"{home}/actions")
    for workflow in found:
        what, link = f"workflow {workflow.name}", f"{home}/actions/workflows/{workflow.path.rpartition('/')[2]}"
        enable = f"open it and press `Enable workflow`, or `gh workflow enable {workflow.path.rpartition('/')[2]}`"
        match workflow.state:
            case "active" | "deleted":
                continue
            case "disabled_inactivity":
                words = "schedule switched off: GitHub does so after 60 days without activity in the repository"
                yield problem(what, GitHubError, words, enable, link)
            case "disabled_manually":
                yield warning(what, "somebody has disabled it", enable, link)
            case "disabled_fork":
                yield warning(what, "it is disabled, as in every new fork", enable, link)
            case state:
                yield warning(what, f"its state is {state}", enable, link)
    active = sum(workflow.state == "active" for workflow in found)
    if active and active == len(found):
        yield ok("workflows", f"{'one is' if active == 1 else f'all {active} are'} enabled")


def permissions_check(found: str | Unknown, home: str) -> Check:
    """Whether jobs have write tokens that didn't ask for one."""
    what = "workflow permissions"
    if isinstance(found, Unknown):
        return unchecked(what, found)
    if found == "write":
        words = "every job that says nothing gets a token that may write everything, and builds run arbitrary code"
        remedy = "settings, Actions, General, Workflow permissions: Read repository contents and packages permissions"
        return warning(what, words, remedy, f"{home}/settings/actions")
    return ok(what, f"a job that says nothing may {found}")


def package_checks(image: str, found: Package | Unknown | None, repository: str, page: str) -> Iterator[Check]:
    """Whether a package is public, and its repository's workflows may write to it."""
    what = f"package {image}"
    match found:
        case Unknown():
            yield unchecked(what, found)
        case None:
            yield ok(what, "nothing is published yet, or this token may not see it")
        case _:
            if found.repository.lower() != repository.lower():
                words = f"it is linked to {found.repository}" if found.repository else "package not linked: it belongs to no repository"
                remedy = f"on its page, connect it to {repository} and below Manage Actions access give that write access"
                yield problem(what, GitHubError, f"{words}, so workflows of {repository} may not write to it", remedy, page)
            if found.visibility != "public":
                remedy = "package settings, Danger Zone, Change visibility: public"
                yield problem(what, GitHubError, f"its visibility is {found.visibility}: pulls need a login", remedy, page or _VISIBILITY)
            elif found.repository.lower() == repository.lower():
                yield ok(what, f"it is public, and linked to {found.repository}")
