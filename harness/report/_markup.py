"""Makes text from runs harmless in the formats that it is shown in."""

from __future__ import annotations

import re

from rich.markup import escape

# What XML 1.0 can hold; a log line quoted in a reason may carry anything else.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~@:-])")
LONGEST = 2000


def xml_text(text: str) -> str:
    """Return text with what XML cannot hold replaced; the writer escapes the rest."""
    return _NOT_XML.sub("\ufffd", text)


def terminal_text(text: str) -> str:
    """Return text on one line, without what moves a cursor, for a console with markup.

    A line of its own could also be taken for a command by what reads the log.
    """
    return escape(_CONTROL.sub(" ", text))


def markdown_cell(text: str) -> str:
    """Return text that stays text in a cell of a Markdown table."""
    line = " ".join(text[:LONGEST].split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", line)


def workflow_data(text: str) -> str:
    """Return text as the message of a GitHub workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def workflow_property(text: str) -> str:
    """Return text as a property of a GitHub workflow command."""
    return workflow_data(text).replace(":", "%3A").replace(",", "%2C")
