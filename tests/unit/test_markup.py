"""Text from runs stays text in XML, Markdown and workflow commands."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from harness.outcome import Lack, Unjudged
from harness.report._markup import markdown_cell, workflow_data, workflow_property
from harness.report.github import step_summary, workflow_commands
from harness.report.junit import junit_xml

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


@given(anything)
def test_any_text_stays_in_its_cell(text: str) -> None:
    cell = markdown_cell(text)
    assert "\n" not in cell
    assert "<" not in cell
    bare = cell.replace("\\\\", "")
    assert bare.count("|") == bare.count("\\|")
