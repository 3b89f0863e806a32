"""The one place that knows environment, configuration and clock: wires tools into steps, one function a task."""

from cachelib.pipeline.build import build
from cachelib.pipeline.install import install
from cachelib.pipeline.prune import prune
from cachelib.pipeline.publish import index, push, render, serve
from cachelib.pipeline.pull import pull
from cachelib.pipeline.report_file import write_report
from cachelib.pipeline.road import cache, demo
from cachelib.pipeline.settings import config, docs
from cachelib.pipeline.verify import verify
from cachelib.pipeline.workspace import Workspace, open_workspace
from cachelib.tools.process import prepare_process

__all__ = [
    "Workspace",
    "build",
    "cache",
    "config",
    "demo",
    "docs",
    "index",
    "install",
    "open_workspace",
    "prepare_process",
    "prune",
    "pull",
    "push",
    "render",
    "serve",
    "verify",
    "write_report",
]  # fmt: skip
