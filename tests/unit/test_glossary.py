"""The glossary names each term once, in order, and all that tables show."""

from __future__ import annotations

import re

from lossmeter.model import AckLevel, Counts, Verdict
from lossmeter.report import words
from tests.support.guides import DOCS

LINE = re.compile(r"^- \*\*(.+?)\*\*: (.+)$")


def test_each_term_has_one_line_and_they_are_in_order() -> None:
    lines = (DOCS / "glossary.md").read_text(encoding="utf-8").splitlines()[4:]
    found = [LINE.match(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    terms = [match[1].lower() for match in found if match]
    assert terms == sorted(set(terms))


def test_every_class_has_a_meaning_and_a_line() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8").lower()
    for name in Counts().as_dict():
        assert words.MEANINGS[name]
        assert name == "sent" or f"**{words.measure_name(name)}**" in text
    for word in (*AckLevel, *Verdict):
        assert word in text
