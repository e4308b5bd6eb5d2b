"""What doctor found is whole on a terminal of any width."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from lossmeter.commands.doctor import Finding, found_table

CACHE = "/home/somebody-with-a-name/" + "a-folder-in-which-caches-lie/" * 3 + "lossmeter"
FINDINGS = [
    Finding("memory", False, "1.4 GiB available; Kafka and the others need 2 GiB"),
    Finding("disk", True, f"23.7 GiB free for {CACHE}; LOSSMETER_CACHE names another place"),
    Finding("runtime kubernetes", False, "no cluster is named; see [kubernetes] in lossmeter.toml"),
    Finding("kafka", False, "not here; 4.1.0 is downloaded: 140 MiB", comes=True),
]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_width_cuts_what_was_found(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(
        found_table(FINDINGS)
    )
    text = out.getvalue()
    assert "…" not in text
    assert all(cell_len(line) <= width for line in text.splitlines())
    for figure in ("1.4 GiB", "2 GiB", "23.7 GiB", "4.1.0", "140 MiB"):
        assert re.search(rf"(?<![\w.]){re.escape(figure)}", " ".join(text.split())), figure
    unbroken = re.sub(r"\s+", "", text)
    for finding in FINDINGS:
        assert finding.what.replace(" ", "") in unbroken
        assert finding.mark.replace(" ", "") in unbroken
    assert CACHE in unbroken


def test_what_it_says_is_no_markup() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(found_table(FINDINGS))
    assert "[kubernetes] in lossmeter.toml" in " ".join(out.getvalue().split())
