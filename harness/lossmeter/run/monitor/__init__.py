"""Has a real Prometheus watch a run: brings it, compresses its clock, reads its alerts."""
