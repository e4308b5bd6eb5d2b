"""A digest of what numbers rest on: files, and the code that runs and judges.

Comments, docstrings and blank lines change no number, so they change no digest.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import lossmeter

# What any run rests on, of this package: what makes, judges and predicts it.
ROOMS = ("faults", "judge", "load", "plan/predict", "run", "world")
_NOT_OURS = {"node_modules", "__pycache__"}
_LENGTH = 16


def digest(name: str, files: Iterable[Path]) -> str:
    """Return what changes when one of these files does; 16 hexadecimal digits.

    Where a file lies does not count, so that two clones have the same.

    Args:
        name: of what the digest is of.
        files: those that count.

    Raises:
        OSError: a file cannot be read.
    """
    found = hashlib.sha256(f"{name} ".encode())
    for file in files:
        found.update(f"{file.name} ".encode() + _content(file))
    return found.hexdigest()[:_LENGTH]


def with_code(files: str) -> str:
    """Return what changes when the code that runs and judges does too, for a digest of files."""
    return hashlib.sha256(f"{files} {_code()}".encode()).hexdigest()[:_LENGTH]


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder that somebody wrote."""
    return [each for each in sorted(folder.rglob("*")) if _counts(folder, each)]


def _counts(folder: Path, file: Path) -> bool:
    return file.is_file() and not _NOT_OURS & set(file.relative_to(folder).parts)


@cache
def _code() -> str:
    root, found = Path(lossmeter.__file__).parent, hashlib.sha256()
    for file in sorted(file for room in ROOMS for file in (root / room).rglob("*.py")):
        found.update(_content(file))
    return found.hexdigest()


def _content(file: Path) -> bytes:
    return _says(file.suffix, file.read_bytes())


# The cells of a table share most of their files.
@cache
def _says(suffix: str, raw: bytes) -> bytes:
    """Return what a file says; one that is not what its suffix claims counts as it is."""
    try:
        if suffix == ".py":
            return _python(raw.decode()).encode()
        if suffix == ".toml":
            tables = tomllib.loads(raw.decode())
            return json.dumps(tables, sort_keys=True, default=str).encode()
    except (SyntaxError, ValueError, tokenize.TokenError):
        pass
    return raw


def _python(source: str) -> str:
    """Return Python without comments, docstrings and blank lines.

    The text is cut rather than written anew from its tree, which each version of Python
    writes in its own way.
    """
    lines = source.splitlines()
    for row, column in _comments(source):
        lines[row - 1] = lines[row - 1][:column]
    for first, last in _docstrings(ast.parse(source)):
        lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _comments(source: str) -> Iterator[tuple[int, int]]:
    """Yield line and column of each comment; lines count from 1."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start


def _docstrings(tree: ast.AST) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of each docstring."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        said = first.value if isinstance(first, ast.Expr) else None
        if isinstance(said, ast.Constant) and isinstance(said.value, str):
            yield said.lineno, said.end_lineno or said.lineno
