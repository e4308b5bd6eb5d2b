"""The instrument as ratios beside what people would use instead, and held to its goals."""

PARTS = (
    *("startup", "reconcile", "readback", "load", "ingresses", "dispatcher", "stages"),
    *("cells", "precision", "memory", "judging", "page", "install", "pythons"),
)
