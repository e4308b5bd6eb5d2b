"""``lossmeter budget``: the commands that change budgets."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import OUT, RuntimeName, run_folders, say
from lossmeter.errors import ExitCode, HarnessError
from lossmeter.record.files import write_text

if TYPE_CHECKING:
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.result import Result
    from lossmeter.studies.ratchet import Plan


GROUP = typer.Typer(help="Change what runs may cost.", no_args_is_help=True)


@GROUP.callback()
def _budget() -> None:
    """Change what runs may cost."""


@GROUP.command()
def ratchet(
    run: Annotated[
        list[Path] | None,
        run_folders("Folders under results/runs; default: all."),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(min=0, max=10, help="Part of the worst measurement that is added to it."),
    ] = 0.2,
    min_runs: Annotated[
        int, typer.Option(min=1, help="Conclusive runs needed of each target and runtime.")
    ] = 5,
    runtime: RuntimeName = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
) -> None:
    """Tighten the budgets in experiments/budgets.toml to what recorded runs needed.

    Never loosens one. Runs that say nothing do not count; a budget is left alone where a
    run fails, or where a target that it stands for has too few runs on a runtime in use.
    """
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.studies.ratchet import Terms, plan

    catalogue = Catalogue.here()
    from lossmeter.record.runs import run_folder

    folders = [run_folder(catalogue.runs, name) for name in run or []]
    results = _recorded(catalogue, folders, runtime)
    budgets = catalogue.budgets()
    found = plan(results, budgets, catalogue.variants(), Terms(margin, min_runs))
    for name, why in found.kept:
        say(f"{name}: kept, {why}")
    _tell_elsewhere(found, catalogue.budgets_file, only=bool(run) or not found.here)
    if not found.runtimes:
        say("nothing was judged, so nothing is known to tighten a budget by")
        raise typer.Exit(ExitCode.NOTHING_JUDGED)
    if not found.changes:
        say("no budget can be tightened")
        return
    _carry_out(catalogue.budgets_file, found, dry_run=dry_run)
    say(f"from runs on runtime {' and '.join(found.runtimes)} only")


def _tell_elsewhere(found: Plan, file: Path, *, only: bool) -> None:
    """Say of which runs the budget is not in the file, so that nothing there can be tightened.

    Raises:
        UsageError: it is ``only`` these that were asked for.
    """
    from lossmeter.commands._shared import shown_path
    from lossmeter.errors import UsageError

    told = [
        f"{experiment} on {target} has no budget in {shown_path(file)}; put "
        f"[{experiment}.{target}] there to have it tightened"
        for experiment, target in found.elsewhere
    ]
    if told and only:
        raise UsageError("; ".join(told))
    for line in told:
        say(line)


def _recorded(catalogue: Catalogue, folders: list[Path], runtime: str | None) -> list[Result]:
    from lossmeter.judge.again import Judge, Wanted, chosen

    found, damaged = chosen(catalogue.runs, folders, Wanted(runtime=runtime))
    for each in damaged:
        say(f"left out {each.reason}")
    judge = Judge(catalogue, catalogue.budgets())
    return [judge(run) for run in found]


def _carry_out(file: Path, found: Plan, *, dry_run: bool) -> None:
    """Show the difference, and write it unless that is not wanted."""
    from lossmeter.studies.ratchet import tightened

    old = file.read_text(encoding="utf-8-sig")
    new = tightened(old, found.changes)
    for line in _difference(file.name, old.splitlines(), new.splitlines()):
        OUT.print(line, highlight=False, markup=False, soft_wrap=True)
    if dry_run:
        say("nothing was written: --dry-run")
        return
    _replace(file.resolve(), new)


def _replace(file: Path, text: str) -> None:
    """Write the budgets, unless what they have become could not be read."""
    import tomllib

    from lossmeter.plan.budget import Budgets

    Budgets(tomllib.loads(text), file).check()
    try:
        write_text(file, text)
    except OSError as error:
        raise HarnessError(f"{file} cannot be written: {error.strerror}") from None


def _difference(name: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield a unified difference.

    The library's own takes lines that are frequent, as bounds in a long file are, for noise,
    and then shows them as changed.
    """
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    groups = list(matcher.get_grouped_opcodes(3))
    if groups:
        yield f"--- {name}"
        yield f"+++ {name} (tightened)"
    for group in groups:
        (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
        yield f"@@ -{i1 + 1},{i2 - i1} +{j1 + 1},{j2 - j1} @@"
        for kind, a, b, c, d in group:
            if kind == "equal":
                yield from (f" {line}" for line in old[a:b])
            else:
                yield from (f"-{line}" for line in old[a:b])
                yield from (f"+{line}" for line in new[c:d])
