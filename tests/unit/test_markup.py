"""Text from runs stays text in XML, Markdown and workflow commands."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lossmeter.record.outcome import Lack, Unjudged
from lossmeter.report._markup import markdown_cell, workflow_data, workflow_property
from lossmeter.report.github import step_summary, workflow_commands
from lossmeter.report.junit import junit_xml

anything = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)


@given(anything, anything, anything)
def test_any_text_gives_a_file_that_can_be_read(name: str, target: str, reason: str) -> None:
    outcome = Unjudged(name, target, "local", Lack.MISSING, reason)
    root = ET.fromstring(junit_xml([outcome]))
    assert len(list(root.iter("testcase"))) == 1
    error = root.find("testsuite/testcase/error")
    assert error is not None
    kept = [c for c in reason if c.isprintable()]
    assert [c for c in str(error.get("message")) if c.isprintable()].count("\ufffd") >= kept.count(
        "\ufffd"
    )


@given(anything)
def test_any_text_stays_on_its_line(text: str) -> None:
    outcome = Unjudged(text, text, text, Lack.SKIPPED, text)
    (command,) = workflow_commands([outcome])
    assert "\n" not in command
    assert "\r" not in command
    assert command.startswith("::notice title=")
    assert "::" not in workflow_property(text)
    assert "\n" not in workflow_data(text)
    rows = [line for line in step_summary([outcome]).split("\n") if line.startswith("| ")]
    assert len(rows) == 2


def shown(markdown: str) -> str:
    """Return what a reader sees of Markdown: its text, or its HTML where that is more."""
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)
    plain = re.fullmatch(r"<p>([^<]*)</p>\n", page)
    return html.unescape(plain[1]) if plain else page


@pytest.mark.parametrize(
    "text",
    [
        "redis-list",
        "channel_retry and 50 %",
        "fault proxy-down (p99 1.2 ms): 1,005 events lost at worst!",
        "DISPATCHER_QUEUE__TYPE=redis; 3 * 4 ~ 12",
        "lost 4 {a} + b - c. 'x' \"y\" #1 [0, 1] a[2]",
        r"C:\Users and \d",
        "Postgres 18.6 / AMD EPYC 24 GiB, ≥ 97 % of 5 < 6",
    ],
)
def test_nothing_is_escaped_that_is_text_anyway(text: str) -> None:
    assert "\\" not in markdown_cell(text).replace("\\Users", "").replace("\\d", "")
    assert shown(markdown_cell(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "[a](http://b)",
        "![a](b)",
        "[a]: b",
        "x [a](b) [c](d)",
        "*a* **b** ~~c~~",
        "_a_ `b`",
        r"\*a* \\ \[x](y)",
        "a\\",
        "# head",
        "1. one",
        "2026) one",
        "*",
        "* item",
        "* * *",
        "---",
        "- item",
        "> quote",
        "<b>bold</b> &amp; &lt;",
        "a | b",
    ],
)
def test_what_would_be_markup_is_shown_as_it_is(text: str) -> None:
    assert shown(markdown_cell(text)) == text


@given(st.text(st.sampled_from("ab \\`*_[](){}<>!#:|~&;.-+=1"), min_size=1, max_size=12))
@settings(max_examples=1000)
def test_any_signs_are_shown_as_they_are(text: str) -> None:
    line = " ".join(text.split())
    assert shown(markdown_cell(line)) == line or not line


@given(anything)
def test_any_text_stays_in_its_cell(text: str) -> None:
    cell = markdown_cell(text)
    assert "\n" not in cell
    assert "<" not in cell
    bare = cell.replace("\\\\", "")
    assert bare.count("|") == bare.count("\\|")
