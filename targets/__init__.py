"""Targets: a TOML file for each, and the reference dispatcher."""
