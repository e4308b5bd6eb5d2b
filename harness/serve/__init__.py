"""Runs in a browser, on this machine only."""
