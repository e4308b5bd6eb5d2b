"""Dispatchers with planted bugs, which the harness must find."""
