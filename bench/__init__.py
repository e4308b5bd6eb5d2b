"""The instrument beside what people would use instead, as ratios within one run."""

PARTS = ("startup", "reconcile", "readback", "load", "dispatcher", "stages", "page")
