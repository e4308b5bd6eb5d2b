"""``harness budget``: the commands that change budgets."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._shared import OUT, RuntimeName, run_folder, say
from harness.errors import ExitCode, HarnessError

if TYPE_CHECKING:
    from harness.catalogue import Catalogue
    from harness.ratchet import Plan
    from harness.result import Result


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(help="Change what runs may cost.", no_args_is_help=True)
    group.callback()(_budget)
    group.command("ratchet")(ratchet)
    app.add_typer(group, name="budget")


def _budget() -> None:
    """Change what runs may cost."""


def ratchet(
    run: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Folders under results/runs; default: all."),
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
    from harness.catalogue import Catalogue
    from harness.ratchet import Terms, plan

    catalogue = Catalogue.here()
    folders = [run_folder(catalogue.runs, name) for name in run or []]
    results = _recorded(catalogue, folders, runtime)
    budgets = catalogue.budgets()
    found = plan(results, budgets, catalogue.variants(), Terms(margin, min_runs))
    for name, why in found.kept:
        say(f"{name}: kept, {why}")
    if not found.runtimes:
        say("nothing was judged, so nothing is known to tighten a budget by")
        raise typer.Exit(ExitCode.NOTHING_JUDGED)
    if not found.changes:
        say("no budget can be tightened")
        return
    _carry_out(catalogue.budgets_file, found, dry_run=dry_run)
    say(f"from runs on runtime {' and '.join(found.runtimes)} only")


def _recorded(catalogue: Catalogue, folders: list[Path], runtime: str | None) -> list[Result]:
    from harness.facts import Facts
    from harness.recorded import Wanted, judged, matching

    wanted = Wanted(runtime=runtime)
    if folders:
        loaded = [(folder, Facts.load(folder)) for folder in dict.fromkeys(folders)]
        found = [(folder, facts) for folder, facts in loaded if wanted.takes(folder, facts)]
    else:
        found, damaged = matching(catalogue.runs, wanted)
        for each in damaged:
            say(f"left out {each.reason}")
    return judged(found, catalogue, catalogue.budgets())


def _carry_out(file: Path, found: Plan, *, dry_run: bool) -> None:
    """Show the difference, and write it unless that is not wanted."""
    from harness.ratchet import tightened

    old = file.read_text(encoding="utf-8")
    new = tightened(old, found.changes)
    for line in _difference(file.name, old.splitlines(), new.splitlines()):
        OUT.print(line, highlight=False, markup=False, soft_wrap=True)
    if dry_run:
        say("nothing was written: --dry-run")
        return
    _replace(file.resolve(), new)


def _replace(file: Path, text: str) -> None:
    """Write the budgets; a reader never sees half a file, nor one that is not read."""
    from harness.budget import load_budgets

    partial = file.with_name(f"{file.name}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        load_budgets(partial)
        partial.replace(file)
    except OSError as error:
        raise HarnessError(f"{file} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


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
