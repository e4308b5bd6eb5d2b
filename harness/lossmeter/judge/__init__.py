"""What became of each event, and the verdict: read from a run folder, and from nothing else."""
