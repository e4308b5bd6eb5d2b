"""Odd files for the fuzz script: target, experiment and budget files, and damaged run folders."""

from __future__ import annotations

import json
import os
import random
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lossmeter.plan.budget import Budget
from tests.support.resealed import unsealed
from tests.support.run_folders import Written

ROOT = Path(__file__).resolve().parents[2]
DIGITS = "9" * 5000
DEEP = 1500
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**32, 2**63, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308, 5e-324),
    *(float("inf"), float("-inf"), float("nan")),
)
TEXTS = (
    *("", " ", "\n", "\x00", "\x1b[31mred", "a" * 300, "é", "名", "\u202e", "%s", "{}", "{port}"),
    *("[red]", "[/]", "../..", "/dev/zero", "http://user:secret@127.0.0.1:1", "channel", "crash"),
    *("postgresql+psycopg2://user:secret@127.0.0.1/x", "select 1 -- x", "nan", "true", "1e400"),
)


def odd_value(chance: random.Random) -> Any:
    """Return a value that hardly anybody expects."""
    deep: Any = 0
    for _ in range(20):
        deep = [deep]
    others = (True, [], {}, [[]], {"a": {}}, ["a"] * 1000, deep, [1, "a", None], {"": 0})
    return chance.choice([*NUMBERS, *TEXTS, *others])


def altered(value: Any, chance: random.Random) -> Any:
    """Return a nested value with one part of it removed, replaced, doubled or moved."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice([*value])
        new = dict(value)
        what = chance.random()
        if what < 0.6:
            new[key] = altered(value[key], chance)
        elif what < 0.75:
            del new[key]
        elif what < 0.9:
            new[chance.choice([*TEXTS, *value])] = odd_value(chance)
        else:
            new[key] = value
        return new
    if isinstance(value, list) and value and chance.random() < 0.5:
        place = chance.randrange(len(value))
        return [*value[:place], altered(value[place], chance), *value[place + 1 :]]
    return odd_value(chance)


def as_toml(value: Any) -> str:
    """Return a value as TOML, tables inline; what TOML has no word for becomes a string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_toml(each) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(str(value))


def document(table: dict[str, Any]) -> str:
    """Return a table as a TOML file."""
    return "".join(f"{json.dumps(key)} = {as_toml(value)}\n" for key, value in table.items())


def mangled(text: str, chance: random.Random) -> bytes:
    """Return a text as bytes that are damaged in one way."""
    lines = text.splitlines(keepends=True)
    line = chance.randrange(len(lines)) if lines else 0
    place = chance.randrange(len(text) + 1)
    ways: Sequence[Callable[[], bytes]] = (
        lambda: "".join(lines[:line] + lines[line + 1 :]).encode(),
        lambda: "".join([*lines[:line], *lines[line : line + 1] * 2, *lines[line + 1 :]]).encode(),
        text[:place].encode,
        lambda: text[:place].encode() + chance.randbytes(4) + text[place:].encode(),
        lambda: text.encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + text.encode(),
        lambda: text.encode() + b"\xff\xfe",
        lambda: text.replace("\n", "\r").encode(),
        lambda: text.encode() + b"x = " + b"[" * DEEP + b"]" * DEEP + b"\n",
        lambda: text.encode() + b"y = " + DIGITS.encode() + b"\n",
        lambda: text.encode() + b'["\\u0000"]\n',
        lambda: b"",
        lambda: chance.randbytes(200),
        lambda: text.encode() + b"# " + b"x" * 2_000_000,
        lambda: text.replace("1", DIGITS).encode(),
        lambda: text.replace(chance.choice("=[]\"'"), chance.choice("=[]\"'{}")).encode(),
    )
    return chance.choice(ways)()


def target_file(chance: random.Random) -> bytes:
    """Return a target file that is wrong, or at least odd, somewhere."""
    shipped = chance.choice(sorted((ROOT / "targets").glob("*.toml")))
    text = shipped.read_text(encoding="utf-8")
    if chance.random() < 0.35:
        return mangled(text, chance)
    table = tomllib.loads(text)
    for _ in range(chance.choice((1, 1, 2, 4))):
        changed = altered(table, chance)
        table = changed if isinstance(changed, dict) else table
    return document(table).encode()


def budget_file(chance: random.Random) -> bytes:
    """Return a file of budgets that is odd somewhere."""
    text = (ROOT / "experiments" / "budgets.toml").read_text(encoding="utf-8")
    if chance.random() < 0.4:
        return mangled(text, chance)
    whole = tomllib.loads(text)
    name = chance.choice([*whole])
    changed = altered({name: whole[name]}, chance)
    return document(changed if isinstance(changed, dict) else {}).encode()


_EXPERIMENT = """{first}
from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted
{second}
EXPERIMENT = Experiment(
    name={name}, hypothesis={hypothesis},
    variants=({variants},),
    targets={targets}, predict={predict}, bounds={bounds},
)
{last}
"""
_USUAL = {
    "first": '"""An experiment."""',
    "second": "",
    "name": "'own'",
    "hypothesis": "'Nothing is lost.'",
    "variants": "Variant('', steady(20, 2), (), {})",
    "targets": "('channel',)",
    "predict": "lambda seen: Predicted(lost=0, basis='none')",
    "bounds": "{'max_lost': 0}",
    "last": "",
}
_STATEMENTS = (
    *("raise Exception('x')", "raise SystemExit(0)", "raise SystemExit('gone')", "1 / 0"),
    *("raise OSError(28, 'x')", "import nowhere", "def f(): f()\nf()", "EXPERIMENT = 5"),
    *("open('/nowhere')", "del EXPERIMENT", "class Odd(BaseException): pass\nraise Odd", "x ="),
    *("print('\\x1b[2J')", "import sys; sys.stdout = None", "raise MemoryError", "yield 1"),
    *("import dataclasses\n@dataclasses.dataclass\nclass Own:\n    a: int = 1", "assert False"),
    *(
        "raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'odd')",
        "raise TimeoutError",
        "\x00",
        "\ufeff",
    ),
    *("raise ExceptionGroup('many', [ValueError('x')])", "import os; os.chdir('/')", "\tx = 1"),
)
_VARIANTS = (
    *("", "5", "None", "Variant", "Variant('', steady(0, 1), (), {})", "Variant(5, 5, 5, 5)"),
    *("Variant('', steady(float('nan'), 1), (), {})", "Variant('', steady(1, 1e400), (), {})"),
    *("Variant('', steady(1e9, 1e9), (), {})", "Variant('', Load(()), (), {})"),
    *("Variant('a', steady(1, 1)), Variant('a', steady(1, 1))", "Variant('/', steady(1, 1))"),
    *("Variant('a' * 300, steady(1, 1))", "Variant('', steady('1', '1'))"),
    *("Variant('', steady(1, 1), (), {'workers': None})", "Variant('', Load((Phase(1, 1),), -1))"),
    *("Variant('', steady(1, 1), (PlannedFault('nowhere', Trigger()),))",),
    *("Variant('', steady(1, 1), (PlannedFault('sigkill', Trigger(at_s=-1)),))",),
    *("Variant('', steady(1, 1), (PlannedFault('sigkill', Trigger(at_s=float('nan'))),))",),
    *("Variant('', steady(1, 1), (PlannedFault('sigkill', Trigger('x > 1')),))",),
    *("Variant('', steady(1, 1), (PlannedFault('../../x', Trigger(), 'long', 5),))",),
    *("Variant('', steady(1, 1), (PlannedFault('latency', Trigger(), 1.0, {'latency_ms': -5}),))",),
    *("Variant('', steady(1, 1), instances=-3)", "Variant('', steady(1, 1), instances=10**9)"),
)


def experiment_file(chance: random.Random) -> bytes:
    """Return an experiment's Python file that is odd somewhere."""
    slots = dict(_USUAL)
    slot = chance.choice([*slots])
    if slot in {"first", "second", "last"}:
        slots[slot] = chance.choice(_STATEMENTS)
        if chance.random() < 0.3:
            slots["first"] = f"from __future__ import annotations\n{slots['first']}"
    elif slot == "variants" or chance.random() < 0.4:
        slots["variants"] = chance.choice(_VARIANTS)
    else:
        slots[slot] = repr(odd_value(chance)).replace("nan", "float('nan')")
    text = _EXPERIMENT.format(**slots)
    return mangled(text, chance) if chance.random() < 0.15 else text.encode(errors="replace")


def failing_run(folder: Path) -> Path:
    """Write the folder of a run over its budget, without digests: readers see all damage."""
    budget = Budget(max_lost=1, max_duplicated=0)
    return unsealed(Written(folder, lost=20, marked=True, budget=budget).save())


def damage(run: Path, chance: random.Random) -> str:
    """Damage one file of a run's folder in one way; return in words what was done."""
    files = sorted(path for path in run.iterdir() if path.name != "report.html")
    file = chance.choice(files)
    content = file.read_bytes()
    place = chance.randrange(len(content) + 1)
    if file.suffix == ".json" and chance.random() < 0.5:
        changed = altered(json.loads(content), chance)
        file.write_text(json.dumps(changed), encoding="utf-8", errors="replace")
        return f"{file.name}: a value altered"
    ways: dict[str, Callable[[], object]] = {
        "cut off": lambda: file.write_bytes(content[:place]),
        "emptied": lambda: file.write_bytes(b""),
        "bytes changed": lambda: file.write_bytes(
            content[:place] + chance.randbytes(3) + content[place + 3 :]
        ),
        "bytes added": lambda: file.write_bytes(content + chance.randbytes(50)),
        "noise": lambda: file.write_bytes(chance.randbytes(len(content))),
        "not UTF-8": lambda: file.write_bytes(b"\xff\xfe" + content),
        "removed": file.unlink,
        "a folder": lambda: (file.unlink(), file.mkdir()),
        "a FIFO": lambda: (file.unlink(), os.mkfifo(file)),
        "a link to nothing": lambda: (file.unlink(), file.symlink_to("nowhere")),
        "a link to itself": lambda: (file.unlink(), file.symlink_to(file.name)),
        "a link to /dev/zero": lambda: (file.unlink(), file.symlink_to("/dev/zero")),
        "nested deep": lambda: file.write_bytes(b"[" * 200_000),
        "many digits": lambda: file.write_bytes(b'{"seed": ' + DIGITS.encode() + b"}"),
        "unreadable": lambda: file.chmod(0),
        "of another file": lambda: file.write_bytes(chance.choice(files).read_bytes()),
        "a huge shape": lambda: file.write_bytes(content.replace(b"(980,)", b"(9800000000000,)")),
        "objects": lambda: file.write_bytes(content.replace(b"'<i8'", b"'|O' ")),
    }
    what = chance.choice([*ways])
    ways[what]()
    return f"{file.name}: {what}"
