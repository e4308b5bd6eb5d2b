"""The instrument as ratios beside what people would use instead, and held to its goals."""

PARTS = (
    *("startup", "reconcile", "readback", "load", "dispatcher", "stages"),
    *("cells", "precision", "memory", "page"),
)
