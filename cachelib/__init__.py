"""The library under the tasks: values in `model`, decisions in `steps`, outside tools in `tools`, wired by `pipeline`."""

__version__ = "0.1.0"
