"""Inputs for the fuzz script, by kind: each made from a random number generator alone."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from lossmeter.cli import app
from tests.attack.fuzz_files import (
    DIGITS,
    TEXTS,
    budget_file,
    damage,
    experiment_file,
    target_file,
)

# Commands that would really do something on this machine.
LEFT_OUT = ("recover", "images")
RUNNING = ("run", "search", "capacity", "durability", "results", "worked-numbers")


@dataclass(slots=True)
class Input:
    """What one start of lossmeter is given.

    Attributes:
        argv: its arguments.
        note: what is odd, in words.
        environment: what is set beside the usual.
        shell: a script that starts it by ``exec "$@"``; empty to fork.
        ordinary: closed files are closed to it, even when root runs it.
        fails: a run is judged that fails, so that a pass is wrong.
        secret: what it is given may hold a password, which no message may show.
    """

    argv: list[str]
    note: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    shell: str = ""
    ordinary: bool = False
    fails: bool = False
    secret: bool = False


@cache
def _commands() -> dict[str, Any]:
    """Return click's commands by the words that name them."""
    group: Any = typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", {})
        found |= {f"{name} {each}": value for each, value in inner.items()} or {name: command}
    return {name: each for name, each in found.items() if name not in LEFT_OUT}


def _odd_files(folder: Path) -> list[str]:
    """Make paths that are hardly ever met, and return them."""
    (folder / "empty.toml").touch()
    (folder / "empty.py").touch()
    (folder / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (folder / "folder.toml").mkdir()
    for name in ("fifo.toml", "fifo.py", "fifo"):
        os.mkfifo(folder / name)
    (folder / "loop.toml").symlink_to("loop.toml")
    (folder / "closed.toml").touch(mode=0)
    names = ("empty.toml", "empty.py", "bytes.toml", "folder.toml", "fifo.toml", "fifo.py", "fifo")
    others = ("loop.toml", "closed.toml", "results", "results/runs", "/dev/full", "/proc/x.xml")
    run = "results/runs/20260101T000000Z-crash-1"
    return [*names, *others, "no/where", ".", "/", "x" * 300, f"{'x' * 300}.toml", run, f"./{run}/"]


def _word(chance: random.Random, folder: Path, files: list[str]) -> str:
    words = (*TEXTS, "-1", "0", "1", "nan", "inf", "1e400", "1_000", "\u0663", "½", "0x10", DIGITS)
    more = (
        "all",
        "default",
        "redis",
        "local",
        "docker",
        "-",
        "--",
        "-x",
        "127.0.0.1:9",
        "[::1",
        ":0",
    )
    own = (str(folder / "fifo"), "\udcff", "a.py", "b.toml", "/dev/zero", "2026-01-01")
    word = chance.choice([*words, *more, *own, *files]) if chance.random() < 0.7 else None
    return (word or chance.choice(files)).replace("\x00", "\\0")


def _value(parameter: Any, chance: random.Random, folder: Path, files: list[str]) -> str:
    """Return a value for one of click's parameters: of its type, or not."""
    kind = str(parameter.type_descriptor.annotation)
    if chance.random() < 0.5:
        return _word(chance, folder, files)
    if "int" in kind:
        return str(chance.choice((0, 1, 2, 50, -1, 2**31, 2**63, 10**30)))
    if "float" in kind:
        return str(chance.choice((0, 0.5, 1, 1e-9, 1e300, -1, "nan", "inf")))
    return _word(chance, folder, files)


def options(chance: random.Random, folder: Path) -> Input:
    """Return a command with random arguments and options."""
    name = chance.choice([*_commands()])
    files = _odd_files(folder)
    argv = name.split()
    for parameter in _commands()[name].params:
        if parameter.param_type_name == "argument":
            for _ in range(chance.choice((0, 1, 1, 1, 2))):
                argv.append(_value(parameter, chance, folder, files))
        elif chance.random() < 0.35 and parameter.name not in {"help", "runtime"}:
            argv.append(chance.choice([*parameter.opts, *parameter.secondary_opts]))
            if not parameter.is_flag:
                argv.append(_value(parameter, chance, folder, files))
    if chance.random() < 0.1:
        argv.insert(chance.randrange(len(argv) + 1), _word(chance, folder, files))
    return Input(_unreachable(argv, chance), ordinary=_who(chance))


def _unreachable(argv: list[str], chance: random.Random) -> list[str]:
    """Have what would start a run ask for a runtime that is not there."""
    if any(name in argv for name in RUNNING):
        # Whatever was asked for by an option that was only meant as a value counts too.
        argv = [each for each in argv if each not in {"local", "auto", "--runtime"}]
        if "--" not in argv:
            argv += ["--runtime", chance.choice(("docker", "docker", "nowhere"))]
        else:
            argv.insert(argv.index("--"), "--runtime=docker")
    if "serve" in argv:
        argv.append("--port=0")
    return argv


def _who(chance: random.Random) -> bool:
    return os.geteuid() == 0 and chance.random() < 0.5


def target_files(chance: random.Random, folder: Path) -> Input:
    """Return a command that reads a target file."""
    (folder / "own.toml").write_bytes(target_file(chance))
    argv = chance.choice(
        (
            ["run", "crash", "--target", "own.toml", "--runtime", "docker"],
            ["run", "control", "--target", "channel", "--target", "own.toml", "--runtime=docker"],
            ["gate", "--experiment", "crash", "--target", "own.toml"],
            ["capacity", "own.toml", "--runtime", "docker"],
            ["replay", "http://127.0.0.1:9", "--target", "own.toml"],
            ["durability", "--target", "own.toml", "--runtime", "docker"],
        )
    )
    return Input(argv, secret=True)


def experiment_files(chance: random.Random, folder: Path) -> Input:
    """Return a command that reads an experiment's file."""
    (folder / "own.py").write_bytes(experiment_file(chance))
    argv = chance.choice(
        (
            ["run", "own.py", "--target", "channel", "--runtime", "docker"],
            ["gate", "--experiment", "own.py", "--target", "channel"],
            ["search", "own.py", "--runtime", "docker"],
            ["capacity", "channel", "--like", "own.py", "--runtime", "docker"],
            ["list"],
            ["run", "all", "--runtime", "docker"],
            ["gate", "--experiment", "all"],
        )
    )
    if "own.py" not in argv:
        shipped = (folder / "experiments").resolve()
        (folder / "experiments").unlink()
        (folder / "experiments").mkdir()
        for path in [*shipped.glob("c*.py"), shipped / "budgets.toml"]:
            (folder / "experiments" / path.name).symlink_to(path)
        (folder / "own.py").rename(folder / "experiments" / "own.py")
    return Input(argv)


def budget_files(chance: random.Random, folder: Path) -> Input:
    """Return a command that reads budgets."""
    content = budget_file(chance)
    if chance.random() < 0.5:
        (folder / "own.toml").write_bytes(content)
        return Input(["gate", "--budgets", "own.toml"])
    shipped = (folder / "experiments").resolve()
    (folder / "experiments").unlink()
    (folder / "experiments").mkdir()
    for path in shipped.glob("c*.py"):
        (folder / "experiments" / path.name).symlink_to(path)
    (folder / "experiments" / "budgets.toml").write_bytes(content)
    argv = chance.choice(
        (
            ["gate"],
            ["budget", "ratchet", "--min-runs", "1"],
            ["run", "crash", "--target", "channel", "--runtime", "docker"],
            ["list"],
        )
    )
    return Input(argv)


def run_folders(chance: random.Random, folder: Path) -> Input:
    """Return a command that reads a damaged run that fails."""
    (run,) = (folder / "results" / "runs").iterdir()
    note = damage(run, chance)
    if chance.random() < 0.1:
        name = chance.choice(("a\nb-1", "\x1b[2J-1", os.fsdecode(b"\xff-crash-1"), "9-crash-1"))
        run = run.rename(run.with_name(name))
    path = str(run)
    judging = (["gate", path], ["gate"], ["report", path], ["report", "--no-page", path])
    others = (
        ["compare", path, path],
        ["history"],
        ["results", path, "--to", "out"],
        ["budget", "ratchet", "--dry-run", "--min-runs", "1"],
        ["worked-numbers", "--recorded"],
    )
    fails = chance.random() < 0.7
    argv = chance.choice(judging if fails else others)
    return Input(argv, note, ordinary=_who(chance), fails=fails)


_SHELLS: Mapping[str, str] = {
    "no stdout": 'exec "$@" >&-',
    "no stderr": 'exec "$@" 2>&-',
    "no stdin": 'exec "$@" <&-',
    "no streams": 'exec "$@" <&- >&- 2>&-',
    "a reader that goes": '("$@"; echo $? >code) | true; read code <code; exit $code',
    "a full device": 'exec "$@" >/dev/full',
    "a full device for errors": 'exec "$@" 2>/dev/full',
    "a folder that is gone": 'mkdir gone; cd gone; rmdir ../gone; exec "$@"',
    "few files": 'ulimit -n 12; exec "$@"',
    "no files to write": 'ulimit -f 0; exec "$@"',
    "a umask of 777": 'umask 777; exec "$@"',
    "little memory": 'ulimit -v 900000; exec "$@"',
    "nothing odd": 'exec "$@"',
}
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "LANG": ("C", "de_DE.ISO-8859-1", "nowhere"),
    "LC_ALL": ("C", "POSIX"),
    "PYTHONIOENCODING": ("ascii", "utf-16", "latin-1"),
    "PYTHONUTF8": ("0",),
    "PYTHONCOERCECLOCALE": ("0",),
    "PYTHONWARNINGS": ("error",),
    "PYTHONOPTIMIZE": ("2",),
    "PYTHONHASHSEED": ("0",),
    "COLUMNS": ("0", "-1", "1", "20", "many", "100000"),
    "LINES": ("0", "x"),
    "TERM": ("dumb", "", "nowhere"),
    "HOME": ("", "/nowhere", "relative", "/dev/null"),
    "TMPDIR": ("/nowhere", "", "/dev/null"),
    "TZ": ("nowhere", "Asia/Tokyo", ""),
    "NO_COLOR": ("1",),
    "FORCE_COLOR": ("1", "x"),
    "GITHUB_ACTIONS": ("true",),
    "GITHUB_STEP_SUMMARY": ("/nowhere/x", "/dev/full", "results"),
    "http_proxy": ("http://127.0.0.1:9", "nonsense"),
    "PGSSLMODE": ("nonsense",),
    "DOCKER_HOST": ("nonsense", "tcp://127.0.0.1:9", "unix:///dev/null", ""),
    "LOSSMETER_CACHE": ("", "/dev/null", "/proc/x", "a b,c:d"),
    "LOSSMETER_KUBECONFIG": ("", "results", "/dev/null"),
    "LOSSMETER_KUBE_CONTEXT": ("", "\x1b[31m"),
    "XDG_CACHE_HOME": ("relative", "/dev/null"),
    "SOURCE_DATE_EPOCH": ("-1",),
}


def surroundings(chance: random.Random, folder: Path) -> Input:
    """Return an ordinary command in odd surroundings, in a process of its own."""
    (run,) = (folder / "results" / "runs").iterdir()
    path = str(run)
    argv, fails = chance.choice(
        (
            (["gate", path], True),
            (["gate"], True),
            (["report", "--no-page", path], True),
            (["report", path], True),
            (["history"], False),
            (["list"], False),
            (["plan", "--rate", "200"], False),
            (["doctor"], False),
            (["compare", path], False),
            (["run", "crash", "--target", "channel", "--runtime", "docker"], False),
            (["--help"], False),
        )
    )
    what = chance.choice([*_SHELLS])
    names = chance.sample([*_VARIABLES], chance.choice((0, 1, 1, 2)))
    environment = {name: chance.choice(_VARIABLES[name]) for name in names}
    ordinary = _who(chance)
    if chance.random() < 0.2:
        closed = chance.choice(("results", "results/runs", path, "home"))
        (folder / closed).chmod(stat.S_IRUSR | stat.S_IXUSR)
        what_else = f"{closed} cannot be written"
    else:
        what_else = ""
    who = "an ordinary user" if ordinary else "this user"
    note = f"{what}, {environment or 'no variable'}, {who}, {what_else}"
    shell = f'python=$1; shift; set -- "$python" -m lossmeter.cli "$@"; {_SHELLS[what]}'
    return Input(argv, note, environment, shell, ordinary, fails)


KINDS: Mapping[str, Callable[[random.Random, Path], Input]] = {
    "options": options,
    "target files": target_files,
    "experiment files": experiment_files,
    "budget files": budget_files,
    "run folders": run_folders,
    "surroundings": surroundings,
}
# Those in a process of their own take many times longer.
WEIGHTS: Mapping[str, float] = {"surroundings": 0.15}
