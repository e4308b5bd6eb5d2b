"""Seeds of repeats, all from the one that was given."""

from __future__ import annotations

import numpy as np


def derived(seed: int, repeat: int) -> int:
    """Return the seed of a repeat, 0 to 2**31 - 1; that of repeat 0 is the seed itself."""
    if repeat == 0:
        return seed
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0]) >> 1
