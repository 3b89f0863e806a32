"""Runs inside Spack (`spack python`), and tells as JSON what Spack's command line doesn't.

    spack python spack_probe.py parse REQUESTS.json OUT.json
    spack -e ENV python spack_probe.py describe OUT.json
    spack python spack_probe.py names OUT.json
    spack python spack_probe.py compilers COMPILERS.json OUT.json
    spack python spack_probe.py facts PACKAGES.json OUT.json

Imports nothing of this library, and of Spack only what 1.0, 1.1 and develop share.
"""

import difflib
import glob
import json
import os
import re
import shutil
import sys


def parse(requests):
    """For each request: why Spack can't read it, or nothing."""
    import spack.repo
    import spack.spec

    found = {}
    for request in requests:
        try:
            spec = spack.spec.Spec(request)
            if not spec.name:
                raise ValueError("it names no package")
            for node in spec.traverse():
                if node.name and not spack.repo.PATH.exists(node.name) and not spack.repo.PATH.is_virtual(node.name):
                    close = difflib.get_close_matches(node.name, spack.repo.PATH.all_package_names(), n=3)
                    advice = f"; did you mean {' or '.join(close)}?" if close else ""
                    raise ValueError(f"package {node.name!r} is not found in any repository{advice}")
        except Exception as error:
            text = str(error) + "\n" + str(getattr(error, "long_message", None) or "")
            found[request] = re.sub(r"\x1b\[[0-9;]*m", "", text).strip()
    return found


def compilers(wanted):
    """Which of the wanted compilers the configuration has, and all that it has."""
    from spack.compilers.config import all_compilers

    there = all_compilers(init_config=False)
    found = [name for name in wanted if any(one.satisfies(name) for one in there)]
    return {"found": found, "all": sorted(f"{one.name}@{one.version}" for one in there)}


def names():
    """The names of all packages, virtual ones among them: what is a package of its own only its class tells, which takes time to load."""
    import spack.repo

    return sorted(spack.repo.PATH.all_package_names(include_virtuals=True))


def facts(asked):
    """For each package of `names`: why nobody could build and publish it for any of the `targets`, or nothing; and its licences."""
    import spack.spec

    here = spack.spec.Spec.default_arch()
    places = [spack.spec.Spec(f"platform={here.platform} os={here.os} target={target}") for target in asked["targets"]] or [here]
    found = {}
    for name in asked["names"]:
        reasons = [unfit(name, place) for place in places]
        reason = reasons[0] if all(reasons) else ""
        found[name] = {"reason": reason, "licenses": [] if reason else stated_licenses(name)}
    return found


def stated_licenses(name):
    """The licences that a recipe states, whatever they hang on."""
    import spack.repo

    return sorted({str(one) for one in getattr(spack.repo.PATH.get_pkg_class(name), "licenses", {}).values()})


def unfit(name, here):
    import spack.config
    import spack.repo

    try:
        package = spack.repo.PATH.get_pkg_class(name)
        settings = spack.config.get("packages", {})
        if package.virtual:
            return "it is virtual, and others provide it"
        if "runtime" in getattr(package, "tags", ()):
            return "it comes with a compiler, and nobody asks for it"
        if settings.get(name, {}).get("buildable") is False:
            return "it is taken from this machine, and not built"
        if package.manual_download:
            return "its source has to be downloaded by hand"
        if package.license_required:
            return "it takes a licence to use"
        if any(held.binary and holds(here, when) for when, held in package.disable_redistribute.items()):
            return "its licence lets nobody redistribute binaries"
        usable = [options for options in package.versions.values() if not options.get("deprecated")]
        if not usable:
            return "each of its versions is deprecated" if package.versions else "it has no version"
        if all(missing(str(options.get("url") or getattr(package, "url", None) or "")) for options in usable):
            return "its source is a file that one has to have"
        return refusal(package, here)
    except Exception as error:
        return "its recipe can't be read: " + (str(error).strip().splitlines() or [type(error).__name__])[0]


def refusal(package, here):
    """Why a package can't be built for a platform and target whatever else is chosen; only the concretizer knows all."""
    for when, conflicts in package.conflicts.items():
        for conflict, message in conflicts:
            if holds(here, when) and holds(here, conflict):
                return not_for(package, here, message or f"it conflicts with {conflict}")
    for when, requirements in package.requirements.items():
        for specs, _, message in requirements:
            if holds(here, when) and not any(here.intersects(spec) for spec in specs):
                return not_for(package, here, message or f"it requires {' or '.join(str(spec) for spec in specs)}")
    return ""


def holds(here, condition):
    """Whether a condition holds for the bare architecture, and so for every spec that has it.

    One that names a package (`conflicts("jemalloc")`) is satisfied by every spec without a name, and says nothing of this one.
    """
    return not condition.name and here.satisfies(condition)


def not_for(package, here, message):
    return f"it is not for {here.platform} on {here.target}: {message.removeprefix(package.name + ': ')}"


def missing(url):
    """Whether a source is a file that isn't here."""
    return url.startswith("file:") and not os.path.exists(url.removeprefix("file:").removeprefix("//"))


def describe():
    """For each concrete node of the active environment: is it installed, what is its package, what became of its build."""
    import spack.environment

    env = spack.environment.active_environment()
    return {spec.dag_hash(): describe_spec(spec) for spec in env.all_specs_generator()}


def describe_spec(spec):
    if spec.external:
        return {"external": True, "installed": True}
    package = spec.package
    described = {
        "external": False,
        "installed": spec.installed,
        "prefix": str(spec.prefix),
        "package": {
            "description": " ".join((type(package).__doc__ or "").split())[:500],
            "homepage": str(getattr(package, "homepage", None) or ""),
            "license": license_of(spec),
            "maintainers": [str(name) for name in getattr(package, "maintainers", ())],
            "redistributable": bool(package.redistribute_binary),
        },
    }
    if spec.installed:
        described["times"] = read_json(os.path.join(package.times_log_path))
        described["environment"] = environment(spec)
    else:
        described["log"] = log_of(package)
        described["errors"] = errors_in(described["log"])
        described["phase"] = last_phase(described["log"])
    return described


def license_of(spec):
    """The licence that the recipe states for this spec."""
    for when, name in sorted(getattr(spec.package, "licenses", {}).items(), key=str):
        if spec.satisfies(when):
            return str(name)
    return ""


def environment(spec):
    """What the package and its dependencies change in the environment at run time."""
    import spack.user_environment

    ops = {
        "SetEnv": "set", "SetPath": "set", "UnsetEnv": "unset", "PrependPath": "prepend_path",
        "AppendPath": "append_path", "AppendFlagsEnv": "append_flags", "RemoveFlagsEnv": "remove_flags",
    }  # fmt: skip
    try:
        changes = spack.user_environment.environment_modifications_for_specs(spec)
    except Exception:
        return None  # a dependency is missing; the plain folders of the prefix must do
    return [
        {"op": ops[type(change).__name__], "name": change.name, "value": str(getattr(change, "value", "")), "separator": change.separator}
        for change in changes.env_modifications
        if type(change).__name__ in ops
    ]


def log_of(package):
    """The log of a build; put together from those of its phases, as Spack does at the end, where it was ended before."""
    log = package.log_path
    phases = sorted(glob.glob(os.path.join(glob.escape(package.stage.path), "spack-build-[0-9][0-9]-*-out.txt")))
    if not os.path.exists(log) and phases:
        with open(log, "wb") as whole:
            for phase in phases:
                with open(phase, "rb") as part:
                    shutil.copyfileobj(part, whole)
    return log if os.path.exists(log) else ""


def errors_in(log):
    """The lines of a build log that Spack's own parser takes for errors."""
    if not log:
        return []
    from spack.util.log_parse import parse_log_events

    with open(log, encoding="utf-8", errors="replace") as stream:
        errors, _ = parse_log_events(stream, context=0, jobs=1)
    return [f"{event.line_no}: {event.text.strip()[:2000]}" for event in errors[:20]]


def last_phase(log):
    """The phase that a build log breaks off in."""
    if not log:
        return ""
    with open(log, encoding="utf-8", errors="replace") as stream:
        phases = re.findall(r"^==> \S+: Executing phase: '([\w-]+)'", stream.read(), re.MULTILINE)
    return phases[-1] if phases else ""


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


#: What each command takes beside the file that it writes: a file of JSON, or nothing.
ASKING, TELLING = {"parse": parse, "facts": facts, "compilers": compilers}, {"describe": describe, "names": names}


def main(arguments):
    if arguments[0] in ASKING:
        with open(arguments[1], encoding="utf-8") as file:
            found = ASKING[arguments[0]](json.load(file))
    else:
        found = TELLING[arguments[0]]()
    with open(arguments[-1], "w", encoding="utf-8") as file:
        json.dump(found, file)


main(sys.argv[-3:] if sys.argv[-3] in ASKING else sys.argv[-2:])
