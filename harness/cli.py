"""The command line. Exit codes are pytest's, extended (see ``harness.errors.ExitCode``)."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.markup import escape

from harness import commands
from harness.commands._shared import ERR
from harness.errors import ExitCode, HarnessError
from harness.plugins import load, names_in

app = typer.Typer(
    name="harness",
    help=(
        "Tells how many messages an event dispatcher loses when things go wrong, and proves it.\n\n"
        "Exit codes: 0 within budget, 1 over budget, 2 interrupted, 3 harness error, "
        "4 wrong usage, 5 nothing judged, 7 inconclusive."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name in names_in(commands):
    load(commands, _name, "command").register(app)


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into one KeyboardInterrupt; later ones wait."""
    told = False

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        nonlocal told
        if told:
            ERR.print("already stopping: faults are being healed and servers stopped")
            return
        told = True
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    # Under nohup the end of the terminal is to be ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Typer exports this class's child only; it is the root of what is wrong with options.
_OptionError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]


# Typer takes an interrupt of a command for an exit with the shell's code for it.
_TYPERS_INTERRUPT = 128 + signal.SIGINT


def main() -> None:
    """Run the command line and exit with a documented code, never with a traceback."""
    try:
        with _one_interrupt():
            code = app(standalone_mode=False)
    except HarnessError as error:
        ERR.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except _OptionError as error:
        # Without arguments the help has been printed, and there is nothing to add.
        if message := error.format_message():
            ERR.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.USAGE)
    except (typer.Abort, KeyboardInterrupt):
        ERR.print("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last resort, and it shows everything
        # Python would exit with 1, which means over budget here.
        traceback.print_exc()
        sys.exit(ExitCode.HARNESS_ERROR)
    if code == _TYPERS_INTERRUPT:
        ERR.print("interrupted")
        code = ExitCode.INTERRUPTED
    sys.exit(code if isinstance(code, int) else ExitCode.WITHIN_BUDGET)


if __name__ == "__main__":
    main()
