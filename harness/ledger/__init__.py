"""Compares what producers were told with what was persisted. Pure, over arrays."""
