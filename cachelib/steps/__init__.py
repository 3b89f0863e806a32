"""Decisions over values: each step computes what is to be done and acts through protocols of `model.ports` alone."""
