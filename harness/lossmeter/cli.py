"""The command line. Exit codes are pytest's, extended (see ``lossmeter.errors.ExitCode``)."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from lossmeter import commands
from lossmeter.commands._interrupts import ending, one_interrupt
from lossmeter.commands._shared import ERR
from lossmeter.commands._streams import mend
from lossmeter.errors import ExitCode, HarnessError, UsageError, redacted, traceback_of
from lossmeter.plugins import absent, load, names_in
from lossmeter.record.files import FULL
from lossmeter.world.ownership import is_program

app = typer.Typer(
    name="lossmeter",
    help=(
        "Tells how many messages an event dispatcher loses when things go wrong, and proves it.\n\n"
        "Exit codes: 0 within budget, 1 over budget, 2 interrupted, 3 harness error, "
        "4 wrong usage, 5 nothing judged, 7 inconclusive. Where several apply, the first of "
        "2, 4, 3, 5, 7, 1, 0."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name in names_in(commands):
    _module = load(commands, _name, "command")
    if hasattr(_module, "GROUP"):
        app.add_typer(_module.GROUP, name=_name)
    else:
        app.command(_name)(_module.command)

# No option of any command means anything beyond; seeds have 31 bits.
LARGEST_OPTION = 10.0**10
LONGEST_NAME = 255


def _bounded(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that refuses values that no command can use, before it begins."""

    @functools.wraps(callback)
    def checked(**given: Any) -> Any:
        for name, value in given.items():
            for each in value if isinstance(value, list) else [value]:
                if why := _unusable(each):
                    raise UsageError(f"--{name.replace('_', '-')}: {why}")
        return callback(**given)

    return checked


def _unusable(value: object) -> str | None:
    if isinstance(value, (int, float)):
        fine = -LARGEST_OPTION <= value <= LARGEST_OPTION
        return None if fine else f"no number within ±{LARGEST_OPTION:g}"
    if isinstance(value, (str, Path)) and "://" not in str(value):
        for part in Path(value).parts:
            if len(os.fsencode(part)) > LONGEST_NAME:
                return f"{part[:20]}... has more than {LONGEST_NAME} bytes, as no file name may"
    return None


def _bound_all(group: typer.Typer) -> None:
    for command in group.registered_commands:
        if command.callback is not None:
            command.callback = _bounded(command.callback)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _bound_all(inner.typer_instance)


_bound_all(app)

# What is wrong with a file or folder that was named, or with the place of the results.
_FILE_TROUBLE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR),
        *(errno.EISDIR, errno.ELOOP, errno.EEXIST),
    }
)
_NAMED = _FILE_TROUBLE | FULL


# Typer exports this class's child only; it is the root of what is wrong with options.
_OptionError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]


# Typer takes an interrupt of a command for an exit with the shell's code for it.
_TYPERS_INTERRUPT = 128 + signal.SIGINT


def main() -> None:
    """Run the command line and exit with a documented code, never with a traceback."""
    is_program()
    mend()
    try:
        code = _run()
    except KeyboardInterrupt:
        # All was over but for what is said.
        code = ExitCode.INTERRUPTED
    ending(code)
    sys.exit(code)


def _run() -> int:
    """Run the command line and return the exit code."""
    try:
        with one_interrupt(last=True):
            code = app(standalone_mode=False)
    except HarnessError as error:
        ERR.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        return error.exit_code
    except _OptionError as error:
        # Without arguments the help has been printed, and there is nothing to add.
        if message := error.format_message():
            ERR.print(
                f"[red]error:[/red] {escape(redacted(message))}", highlight=False, soft_wrap=True
            )
        return ExitCode.USAGE
    except (typer.Abort, KeyboardInterrupt):
        ERR.print("interrupted")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort, and it shows everything
        # Python would exit with 1, which means over budget here.
        return _last_resort(error)
    if code == _TYPERS_INTERRUPT:
        ERR.print("interrupted")
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.WITHIN_BUDGET


def _last_resort(error: Exception) -> ExitCode:
    """Tell what nobody expected: in one sentence what a person can mend, a defect in full."""
    named = isinstance(error, OSError) and error.filename is not None
    if isinstance(error, OSError) and error.errno in (_NAMED if named else FULL):
        sentence = f"{error.filename if named else 'a disk'} cannot be used: {error.strerror}"
        ERR.print(f"[red]error:[/red] {escape(sentence)}", highlight=False, soft_wrap=True)
        return ExitCode.USAGE if error.errno in _FILE_TROUBLE else ExitCode.HARNESS_ERROR
    if isinstance(error, ModuleNotFoundError) and (why := absent(error)) is not None:
        ERR.print(f"[red]error:[/red] {escape(why)}", highlight=False, soft_wrap=True)
        return ExitCode.USAGE
    if isinstance(error, MemoryError):
        sentence = "there is too little memory for this; give it more, or raise its limit"
        ERR.print(f"[red]error:[/red] {sentence}", highlight=False, soft_wrap=True)
        return ExitCode.HARNESS_ERROR
    ERR.file.write(traceback_of(error))
    return ExitCode.HARNESS_ERROR


if __name__ == "__main__":
    main()
