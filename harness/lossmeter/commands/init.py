"""``lossmeter init``."""

from __future__ import annotations

import os
import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import OUT
from lossmeter.errors import UsageError
from lossmeter.record.files import read_bytes, why, write_text

if TYPE_CHECKING:
    from lossmeter.plan.starters import Found

FOLDER = "loss"
PROJECT = f"""\
# Where lossmeter finds your files; what it ships is always there too.
targets = "{FOLDER}/targets"
experiments = "{FOLDER}/experiments"
budgets = "{FOLDER}/budgets.toml"
runs = "{FOLDER}/results/runs"
"""
BUDGETS = """\
# What may be lost. Without a budget no run can pass; `lossmeter list` names the experiments.
[control.$name]
max_lost = 0
max_duplicated = 0

[crash.$name]
max_lost = 0
"""
PIPELINES = {"github": ".github/workflows/events-lost.yml", "gitlab": f"{FOLDER}/gitlab.yml"}
IGNORED = f"{FOLDER}/results/"
# What a pipeline installs besides the servers' extras: pages with charts, and what changed.
ALWAYS = ("charts", "statistics")


def command(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="What dispatches your events: celery, celery-rabbitmq, rq, dramatiq, arq, taskiq, "
            "procrastinate, kafka, http or other. Default: what the repository uses.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the target. Default: the kind.")] = None,
    app: Annotated[
        str | None, typer.Option(metavar="MODULE", help="The module of your application.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="The table that events are inserted into.")
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option("--ci", metavar="github|gitlab|none", help="Also write a pipeline."),
    ] = None,
) -> None:
    """Begin in your own repository: write a first target file, a budget and a pipeline.

    Looks at the files of the working folder and asks for what it does not find; without a
    terminal it asks nothing. No file that is there is changed, but for a line of .gitignore.
    """
    from lossmeter.plan.starters import FRAMEWORKS, OTHER, extras, look, target_file
    from lossmeter.plugins import EXTRAS, lacking, unknown

    root, ask = Path.cwd(), sys.stdin.isatty() and sys.stdout.isatty()
    found = look(root)
    kinds = (*FRAMEWORKS, OTHER)
    chosen = kind or _asked(ask, "What dispatches your events?", _likeliest(found, ask=ask))
    if chosen not in kinds:
        raise UsageError(unknown("kind", chosen, kinds))
    called = name or _asked(ask, "Name of the target", chosen)
    module = app or _asked(ask, "Module of your application", found.modules.get(chosen, "app"))
    rows = table or _asked(ask, "Table that events are inserted into", "events")
    wanted = pipeline or _asked(ask, "Pipeline: github, gitlab or none", _host(root))
    if wanted not in {*PIPELINES, "none"}:
        raise UsageError(unknown("pipeline", wanted, (*PIPELINES, "none")))
    if chosen in found.kinds:
        OUT.print(f"{found.kinds[chosen]} names {chosen}", markup=False)
    needed = (*extras(chosen), *ALWAYS)
    given = {"name": called, "folder": FOLDER, "extras": ",".join(needed)}
    files = {
        "lossmeter.toml": PROJECT,
        f"{FOLDER}/targets/{called}.toml": _checked(target_file(chosen, called, module, rows)),
        f"{FOLDER}/budgets.toml": string.Template(BUDGETS).substitute(given),
    }
    if wanted != "none":
        text = (Path(__file__).parent / "pipelines" / f"{wanted}.yml").read_text("utf-8")
        files[PIPELINES[wanted]] = string.Template(text).substitute(given)
    for path, text in files.items():
        _write(root / path, text)
    _ignore(root / ".gitignore")
    lack = lacking(name for extra in extras(chosen) for name in EXTRAS[extra])
    if lack is not None:
        OUT.print(lack, markup=False, highlight=False, soft_wrap=True)
    OUT.print(f"next: lossmeter check {called}", markup=False)


def _asked(ask: bool, question: str, usual: str) -> str:
    return str(typer.prompt(question, default=usual)) if ask else usual


def _likeliest(found: Found, *, ask: bool) -> str:
    if found.kinds:
        return next(iter(found.kinds))
    if ask:
        return "http"
    from lossmeter.plan.starters import FRAMEWORKS, OTHER

    raise UsageError(
        "nothing here says what dispatches your events; name one of "
        f"{', '.join((*FRAMEWORKS, OTHER))}, as in `lossmeter init celery`"
    )


def _host(root: Path) -> str:
    if (root / ".github").is_dir():
        return "github"
    return "gitlab" if (root / ".gitlab-ci.yml").exists() else "none"


def _checked(text: str) -> str:
    """Return the text of a target file; raises UsageError where what was given spoils it."""
    import tomllib

    from pydantic import ValidationError

    from lossmeter.plan.tables import first_problem
    from lossmeter.plan.target import Target

    try:
        tables = tomllib.loads(text)
        for process in tables["process"]:
            process.pop("folder")
        Target.model_validate(tables)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"a name, module or table cannot stand in a file: {error}") from None
    except ValidationError as error:
        raise UsageError(first_problem(error)) from None
    return text


def _write(path: Path, text: str) -> None:
    if path.exists():
        OUT.print(f"kept {path.relative_to(Path.cwd())}, which is there already", markup=False)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {why(error)}") from None
    OUT.print(f"wrote {path.relative_to(Path.cwd())}", markup=False)


def _ignore(path: Path) -> None:
    """Add the folder of results to .gitignore, where that does not name it."""
    try:
        lines = read_bytes(path).decode("utf-8") if os.path.lexists(path) else ""
        if IGNORED in lines.splitlines():
            return
        end = "" if not lines or lines.endswith("\n") else "\n"
        write_text(path, f"{lines}{end}{IGNORED}\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be changed: {error}; add {IGNORED} to it") from None
    OUT.print(f"added {IGNORED} to .gitignore", markup=False)
