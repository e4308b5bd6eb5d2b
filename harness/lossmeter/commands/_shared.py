"""What several commands share: consoles, options, finding runs, showing results."""

from __future__ import annotations

import json
import operator
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossmeter.commands._streams import SafeConsole
from lossmeter.errors import HarnessError, UsageError
from lossmeter.model import plural
from lossmeter.record.files import check_output, why, write_output

if TYPE_CHECKING:
    from lossmeter.plan.target import Target
    from lossmeter.record.outcome import Outcome
    from lossmeter.record.result import Result
    from lossmeter.world.runtime import Runtime

OUT = SafeConsole()
ERR = SafeConsole(stderr=True)


def run_folders(text: str) -> Any:
    """Return the argument that names folders of runs, with its help.

    The parser does not ask whether they can be read: it would refuse the whole command for one.
    """
    return typer.Argument(readable=False, metavar="RUN...", help=text)


Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME|FILE.toml",
        help="Target to run on: a name from `lossmeter list`, or your own file. Repeatable. "
        "Default: the experiment's own list.",
    ),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        metavar="NAME",
        help="Variant of the experiment; `default` is the unnamed one. Repeatable. Default: all.",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(metavar="N", help="Events per second, in place of an experiment's own."),
]
Duration = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="How long the load lasts, in place of an experiment's own."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the target, as workers=3, in place of the experiment's. Repeatable.",
    ),
]

Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="LOSSMETER_KUBECONFIG",
        help="Kubernetes: the kubeconfig. Default: that of the installation's own cluster.",
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        envvar="LOSSMETER_KUBE_CONTEXT",
        help="Kubernetes: the context in it. Default: that of the installation's own cluster.",
    ),
]
AllowContext = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Kubernetes: this context is fit for tests, in which pods are killed. Repeatable.",
    ),
]

RunsOn = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="auto|local|docker|kubernetes",
        help="Where servers and targets run. auto: in containers where Docker answers and the "
        "target says how, else as processes.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=2**31 - 1, help="Fixes all that is random. Default: random."),
]
# What is published is made with the same events each time.
SEED = 1
FixedSeed = Annotated[
    int, typer.Option("--seed", min=0, max=2**31 - 1, help="Fixes the events sent.")
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the results here; - is stdout."),
]
RuntimeName = Annotated[
    str | None,
    typer.Option("--runtime", metavar="NAME", help="Only runs on this runtime. Default: all."),
]


def say(text: str) -> None:
    """Print one line on standard error."""
    ERR.print(text, highlight=False, soft_wrap=True, markup=False)


def use_cluster(kubeconfig: Path | None, context: str | None, allowed: list[str] | None) -> None:
    """Pass on which cluster is meant, and which may be used for tests."""
    if kubeconfig is not None:
        os.environ["LOSSMETER_KUBECONFIG"] = str(kubeconfig)
    if context is not None:
        os.environ["LOSSMETER_KUBE_CONTEXT"] = context
    if allowed:
        os.environ["LOSSMETER_ALLOW_CONTEXT"] = ",".join(allowed)


def seeded(seed: int | None) -> int:
    """Return the seed that was given, or one by chance."""
    return secrets.randbelow(2**31) if seed is None else seed


def runtime_named(name: str) -> Runtime:
    """Return the runtime of that name, or the best this machine can offer for ``auto``."""
    return runtimes_named(name)[0]


def runtimes_named(name: str) -> list[Runtime]:
    """Return the runtime of that name; for ``auto`` all that this machine offers, best first.

    Raises:
        UsageError: there is none of that name, or none is available.
    """
    from lossmeter.plugins import load, names_in
    from lossmeter.world import runtimes

    if name != "auto":
        chosen: Runtime = load(runtimes, name, "runtime").RUNTIME
        if why := chosen.unavailable():
            raise UsageError(f"runtime {name} is not available: {why}")
        return [chosen]
    every: list[Runtime] = [load(runtimes, each, "runtime").RUNTIME for each in names_in(runtimes)]
    ranked = [(each.preference, each) for each in every if each.preference is not None]
    whys: list[str] = []
    found: list[Runtime] = []
    for _, candidate in sorted(ranked, key=operator.itemgetter(0), reverse=True):
        why = candidate.unavailable()
        if why is not None:
            whys.append(f"{candidate.name}, since {why}")
            continue
        if not found:
            reason = f"not {'; '.join(whys)}" if whys else "its engine answers"
            say(f"runtime {candidate.name}: {reason}")
        found.append(candidate)
    if not found:
        raise UsageError("no runtime is available here: " + "; ".join(whys))
    return found


def runtime_for(target: Target, among: Sequence[Runtime]) -> Runtime:
    """Return the first runtime that takes a target; the first of all where none does."""
    refusals: dict[str, str] = {}
    for runtime in among:
        why = runtime.refuses(target)
        if why is None:
            if refusals:
                reasons = "; ".join(f"not {name}, since {why}" for name, why in refusals.items())
                say(f"target {target.name}: runtime {runtime.name}, {reasons}")
            return runtime
        refusals[runtime.name] = why
    return among[0]


def show(outcomes: Sequence[Outcome], json_file: Path | None) -> None:
    """Print the outcomes as a table, or as JSON where that was asked."""
    from lossmeter.report.table import result_table

    if not on_stdout(json_file):
        OUT.print(result_table(outcomes) if outcomes else "nothing was judged")
    write_json(json_file, [json.loads(outcome.to_json()) for outcome in outcomes])


def on_stdout(json_file: Path | None) -> bool:
    """Return whether standard output is for JSON, and for nothing else."""
    return str(json_file) == "-"


def write_json(file: Path | None, data: object) -> None:
    """Write what ``--json`` asked for, if it did.

    Raises:
        HarnessError: the file cannot be written.
    """
    if file is None:
        return
    text = json.dumps(data, indent=2) + "\n"
    if on_stdout(file):
        sys.stdout.write(text)
        return
    save_output("--json", file, text)


def say_notes(results: Sequence[Result]) -> None:
    """Tell what should be known beside the verdicts, each thing once with its runs."""
    runs: dict[str, list[str]] = {}
    for result in results:
        for note in result.notes:
            runs.setdefault(note, []).append(result.run_id)
    for note, ids in runs.items():
        more = f" and {plural(len(ids) - 3, 'other')}" if len(ids) > 3 else ""
        say(f"{', '.join(ids[:3])}{more}: {note}")


def check_json(file: Path | None) -> None:
    """Refuse a file for JSON that cannot be written, before anything is started."""
    if file is not None and not on_stdout(file):
        check_writable("--json", file)


def make_folder(option: str, folder: Path) -> None:
    """Make a folder that an option names, unless it is there.

    Raises:
        UsageError: it cannot be one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{option} {folder} cannot be a folder: {error.strerror}") from None


def check_writable(option: str, file: Path) -> None:
    """Make sure that a file given by an option can be written.

    Raises:
        UsageError: it cannot.
    """
    if not file.parent.is_dir():
        raise UsageError(f"{option} {file}: folder {file.parent} does not exist")
    if problem := check_output(file):
        raise UsageError(f"{option} {file} cannot be written: {problem}")


def save_output(option: str, file: Path, text: str) -> None:
    """Write a file that was given by an option, through what stands there.

    Raises:
        HarnessError: it cannot be written.
    """
    sys.stdout.flush()
    try:
        write_output(file, text)
    except OSError as error:
        raise HarnessError(f"{option} {file} cannot be written: {why(error)}") from None


def shown_path(path: Path) -> Path:
    """Return a path as it is short to read: from the working folder, where it lies in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
