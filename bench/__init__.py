"""The instrument beside its peers, as ratios within one run."""
