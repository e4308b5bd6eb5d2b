"""Compares the answers that producers got with what was persisted. Pure, over arrays."""
