"""The one place that knows environment, configuration and clock: wires tools into steps, one function a task."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cachelib.pipeline.report_file import write_report
from cachelib.pipeline.workspace import Workspace, open_workspace
from cachelib.tools.process import prepare_process

if TYPE_CHECKING:
    from cachelib.pipeline.asking import why
    from cachelib.pipeline.attaching import provenance
    from cachelib.pipeline.building import build
    from cachelib.pipeline.comparing import diff, stats
    from cachelib.pipeline.containers import container
    from cachelib.pipeline.doctoring import doctor
    from cachelib.pipeline.forecasting import weather
    from cachelib.pipeline.gathering import gather
    from cachelib.pipeline.installing import install
    from cachelib.pipeline.key_keeping import keys
    from cachelib.pipeline.logs import log
    from cachelib.pipeline.planning import plan, plan_runners
    from cachelib.pipeline.pruning import prune
    from cachelib.pipeline.publishing import index, push
    from cachelib.pipeline.pulling import pull
    from cachelib.pipeline.releasing import publish
    from cachelib.pipeline.reproducing import reproduce
    from cachelib.pipeline.requests import answer, request
    from cachelib.pipeline.road import cache, demo
    from cachelib.pipeline.runs import again, keep_alive, schedule
    from cachelib.pipeline.sboms import sbom
    from cachelib.pipeline.serving import serve
    from cachelib.pipeline.setting_up import setup
    from cachelib.pipeline.settings import config, docs
    from cachelib.pipeline.site import render
    from cachelib.pipeline.tagging import tag
    from cachelib.pipeline.verifying import verify
    from cachelib.pipeline.working import work

__all__ = [
    "Workspace",
    "again",
    "answer",
    "build",
    "cache",
    "config",
    "container",
    "demo",
    "diff",
    "docs",
    "doctor",
    "gather",
    "index",
    "install",
    "keep_alive",
    "keys",
    "log",
    "open_workspace",
    "plan",
    "plan_runners",
    "prepare_process",
    "provenance",
    "prune",
    "publish",
    "pull",
    "push",
    "render",
    "reproduce",
    "request",
    "sbom",
    "schedule",
    "serve",
    "setup",
    "stats",
    "tag",
    "verify",
    "weather",
    "why",
    "work",
    "write_report",
]  # fmt: skip

_MODULES = {
    "again": "runs", "answer": "requests", "build": "building", "cache": "road", "config": "settings", "container": "containers",
    "demo": "road", "diff": "comparing", "docs": "settings", "doctor": "doctoring", "gather": "gathering", "index": "publishing",
    "install": "installing", "keep_alive": "runs", "keys": "key_keeping", "log": "logs", "plan": "planning", "plan_runners": "planning",
    "provenance": "attaching",
    "prune": "pruning", "publish": "releasing", "pull": "pulling", "push": "publishing", "render": "site", "reproduce": "reproducing",
    "request": "requests", "sbom": "sboms", "schedule": "runs", "serve": "serving", "setup": "setting_up", "stats": "comparing",
    "tag": "tagging", "verify": "verifying", "weather": "forecasting", "why": "asking", "work": "working",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """A task's function, from a module that is loaded when it is asked for: a push need not wait for what only a build needs."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
