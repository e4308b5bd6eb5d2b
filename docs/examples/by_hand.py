"""Counts what a run lost by hand: sets and numpy, and no line of the harness."""

import sys
from pathlib import Path

import numpy as np

INTENT, OUTCOME, ACKED = 1, 2, 1
RECORD = np.dtype(
    "u1, u1, <u2, <u4, <u8, <i8, <i8, <i8",
)
RECORD.names = ("kind", "status", "code", "producer", "sequence", "due_ns", "at_ns", "hash")


def ids(records):
    return set(zip(records["producer"].tolist(), records["sequence"].tolist(), strict=True))


run = Path(sys.argv[1])
journal = np.fromfile(run / "journal-0.bin", RECORD, offset=48)
sent = ids(journal[journal["kind"] == INTENT])
outcomes = journal[journal["kind"] == OUTCOME]
acked = ids(outcomes[outcomes["status"] == ACKED])
persisted = ids(np.load(run / "rows.npy"))
print(f"{len(sent)} sent, {len(acked)} acked, {len(persisted)} persisted")
print(f"{len(acked - persisted)} lost: acked, and not persisted")
print(f"{len(persisted - sent)} persisted that were never sent")
