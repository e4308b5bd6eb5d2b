"""What changes a digest, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmeter.studies.digest import digest, files_in

SOURCE = '''"""What it is."""

# Why.
def double(number: int) -> int:
    """Return twice a number.

    It is long.
    """
    text = "# no comment"
    return 2 * number  # at once
'''
BARE = """def double(number: int) -> int:
    text = "# no comment"
    return 2 * number
"""


def of(folder: Path, name: str, content: str | bytes) -> str:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return digest("name", [file])


def test_comments_docstrings_and_blank_lines_of_python_count_for_nothing(tmp_path: Path) -> None:
    assert of(tmp_path, "a.py", SOURCE) == of(tmp_path, "a.py", BARE)
    assert of(tmp_path, "a.py", BARE) != of(tmp_path, "a.py", BARE.replace("2", "3"))
    assert of(tmp_path, "a.py", BARE) != of(tmp_path, "a.py", BARE.replace("# no", "# a"))
    only = 'class Empty:\n    """Nothing."""\n'
    assert of(tmp_path, "a.py", only) == of(tmp_path, "a.py", only.replace("Nothing", "All"))


def test_of_toml_only_what_it_says_counts(tmp_path: Path) -> None:
    said = of(tmp_path, "a.toml", "a = 1\nb = 2024-01-01\n")
    assert of(tmp_path, "a.toml", "# why\nb = 2024-01-01\na   = 1\n") == said
    assert of(tmp_path, "a.toml", "a = 2\nb = 2024-01-01\n") != said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.py", b"def ("),
        ("a.py", b"\xff"),
        ("a.toml", b"= 1"),
        ("a.mjs", b"// why"),
        ("a.py", b""),
    ],
)
def test_what_is_not_what_its_name_says_counts_as_it_is(
    tmp_path: Path, name: str, content: bytes
) -> None:
    assert of(tmp_path, name, content) != of(tmp_path, name, content + b" x")


def test_the_name_of_a_file_counts_and_its_folder_does_not(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert of(tmp_path, "a.txt", "1") == of(tmp_path / "other", "a.txt", "1")
    assert of(tmp_path, "a.txt", "1") != of(tmp_path, "b.txt", "1")


def test_what_nobody_wrote_is_not_among_the_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("__pycache__/a.pyc", "node_modules/x/b.js", "src/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    assert files_in(tmp_path) == [tmp_path / "src" / "c.py"]
