"""Makes text from runs harmless in the formats that it is shown in."""

from __future__ import annotations

import re

from rich.markup import escape

# What XML 1.0 can hold; a log line quoted in a reason may carry anything else.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What CommonMark and GitHub's tables, links and mentions would take for markup. An underscore
# within a word is none, nor is a sign with space around it; a backslash is only before a sign
# that it could escape, or at the end of a line; a bracket only where a link, the definition of
# one, or a box to tick follows from it, for no page defines links by name.
_MARKDOWN = re.compile(
    r"""[`|] | \\(?=[!-/:-@\[-`{-~]|$) | \](?=[(:]) | ^\[ | (?<=!)\[
    | [*~](?=\S) | (?<=\S)[*~]
    | (?<!\w)_+ | _+(?!\w)
    | :(?=//) | (?<=\bwww)\. | @(?=\w)
    | ^[#+*=-](?=[#+=-]*(?:\s|$)) | ^\d{1,9}[.)](?=\s|$)
    """,
    re.VERBOSE,
)
_ENTITY = re.compile(r"&(?=#?\w+;)")
LONGEST = 2000
_CONTROL = re.compile("[\u0000-\u001f\u007f-\u009f\u2028\u2029]+")


def one_line(text: str) -> str:
    """Return text on one line that moves no cursor and starts no line of its own.

    A line of its own could be taken for a command by what reads the log.
    """
    return _CONTROL.sub(" ", text)


def xml_text(text: str) -> str:
    """Return text with what XML cannot hold replaced; the writer escapes the rest."""
    return _NOT_XML.sub("\ufffd", text)


def terminal_text(text: str) -> str:
    """Return text on one line for a console with markup."""
    return escape(one_line(text))


def markdown_cell(text: str) -> str:
    """Return text that stays text in a cell of a Markdown table."""
    line = " ".join(text[:LONGEST].split())
    line = _ENTITY.sub("&amp;", _MARKDOWN.sub(_escaped, line)).replace("<", "&lt;")
    return f"&gt;{line[1:]}" if line.startswith(">") else line


def _escaped(found: re.Match[str]) -> str:
    return "".join(sign if sign.isdecimal() else f"\\{sign}" for sign in found[0])


def workflow_data(text: str) -> str:
    """Return text as the message of a GitHub workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def workflow_property(text: str) -> str:
    """Return text as a property of a GitHub workflow command."""
    return workflow_data(text).replace(":", "%3A").replace(",", "%2C")
