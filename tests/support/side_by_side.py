"""The command line on a machine that always has headroom, where ``--jobs`` is to run at once.

Nor does it remove what others left: what another test leaves on purpose is that one's.
"""

from __future__ import annotations

from lossmeter.cli import main
from lossmeter.commands import _turns
from lossmeter.world import recovery

if __name__ == "__main__":
    _turns.CORES_FOR_A_CELL = -1.0
    recovery.recover = lambda _: []
    main()
