"""Run folders whose seal is made anew by hand, or which never had one."""

from __future__ import annotations

from pathlib import Path

from lossmeter.record.facts import Facts
from lossmeter.record.manifest import DERIVED, seal


def resealed(folder: Path) -> Path:
    """Seal what a folder holds now, as the end of a run does; its result is gone."""
    facts = _bare(folder, sealed=True)
    seal(folder, facts.run_id)
    return folder


def unsealed(folder: Path) -> Path:
    """Leave a folder as one that was recorded without digests; its result is gone."""
    _bare(folder, sealed=False)
    return folder


def _bare(folder: Path, *, sealed: bool) -> Facts:
    for name in DERIVED:
        (folder / name).unlink(missing_ok=True)
    facts = Facts.load(folder)
    facts.sealed = sealed
    facts.save(folder)
    return facts
