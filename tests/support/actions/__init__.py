"""Runs workflows of GitHub Actions on this machine, from their YAML."""
