"""What several commands share: consoles, options, finding runs, showing results."""

from __future__ import annotations

import json
import operator
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.outcome import Outcome
    from harness.runtime import Runtime

# A pipe has no width of its own; a log keeps long lines better than broken ones.
PIPE_WIDTH = 140
_STAMP = re.compile(r"\d{8}T\d{6}Z")
OUT = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
ERR = Console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH)

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME|FILE.toml",
        help="Target to run on: a name from `harness list`, or your own file. Repeatable. "
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

Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="LOSSMETER_KUBECONFIG",
        help="Kubernetes: the kubeconfig. Default: that of `make kubernetes`.",
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        envvar="LOSSMETER_KUBE_CONTEXT",
        help="Kubernetes: the context in it. Default: that of `make kubernetes`.",
    ),
]
AllowContext = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Kubernetes: this context is fit for tests, in which pods are killed. Repeatable.",
    ),
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
    """Tell one step on standard error."""
    ERR.print(text, highlight=False, soft_wrap=True, markup=False)


def use_cluster(kubeconfig: Path | None, context: str | None, allowed: list[str] | None) -> None:
    """Pass on which cluster is meant, and which may be used for tests."""
    if kubeconfig is not None:
        os.environ["LOSSMETER_KUBECONFIG"] = str(kubeconfig)
    if context is not None:
        os.environ["LOSSMETER_KUBE_CONTEXT"] = context
    if allowed:
        os.environ["LOSSMETER_ALLOW_CONTEXT"] = ",".join(allowed)


def runtime_named(name: str) -> Runtime:
    """Return the runtime of that name, or the best this machine can offer for ``auto``."""
    from harness import runtimes
    from harness.plugins import load, names_in

    if name != "auto":
        chosen: Runtime = load(runtimes, name, "runtime").RUNTIME
        if why := chosen.unavailable():
            raise UsageError(f"runtime {name} is not available: {why}")
        return chosen
    every: list[Runtime] = [load(runtimes, each, "runtime").RUNTIME for each in names_in(runtimes)]
    ranked = [(each.preference, each) for each in every if each.preference is not None]
    whys: list[str] = []
    for _, candidate in sorted(ranked, key=operator.itemgetter(0), reverse=True):
        why = candidate.unavailable()
        if why is None:
            reason = f"not {'; '.join(whys)}" if whys else "its engine answers"
            say(f"runtime {candidate.name}: {reason}")
            return candidate
        whys.append(f"{candidate.name}, since {why}")
    raise UsageError("no runtime is available here: " + "; ".join(whys))


def show(outcomes: Sequence[Outcome], json_file: Path | None) -> None:
    """Print the outcomes as a table, or as JSON where that was asked."""
    from harness.report.table import result_table

    text = json.dumps([json.loads(outcome.to_json()) for outcome in outcomes], indent=2) + "\n"
    if json_file is not None and str(json_file) == "-":
        sys.stdout.write(text)
        return
    if json_file is not None:
        json_file.write_text(text, encoding="utf-8")
    if outcomes:
        OUT.print(result_table(outcomes, OUT.width))
    else:
        OUT.print("nothing was judged")


def check_json(file: Path | None) -> None:
    """Refuse a file for JSON that cannot be written, before anything is started."""
    if file is not None and not file.parent.is_dir():
        raise UsageError(f"--json {file}: folder {file.parent} does not exist")


def shown_path(path: Path) -> Path:
    """Return a path as it is short to read: from the working folder, where it lies in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def newest(runs: Path) -> Path:
    """Return the folder of the newest run: by its name, since a page drawn anew changes its age."""
    folders = sorted((path for path in runs.glob("*-*") if path.is_dir()), key=_begun)
    if not folders:
        raise UsageError(f"{runs} holds no run yet; make one with `harness run crash`")
    return folders[-1]


def _begun(folder: Path) -> tuple[str, float]:
    """Return when a run began, as its name says it; a folder of another name is old."""
    stamp = folder.name.partition("-")[0]
    return stamp if _STAMP.fullmatch(stamp) else "", folder.stat().st_mtime


def run_folder(runs: Path, name: Path) -> Path:
    """Return a run's folder, given its path or its name."""
    for candidate in (name, runs / name):
        if candidate.is_dir():
            return candidate
    raise UsageError(f"run {str(name)!r} does not exist, neither as a folder nor in {runs}")
