"""The result table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

from rich.console import Group, RenderableType
from rich.text import Text

from lossmeter.model import Counts, Evidence, Predicted, Verdict
from lossmeter.record.outcome import Outcome
from lossmeter.record.result import Result
from lossmeter.report import words
from lossmeter.report._layout import NOTHING, Column, Grid, Line, Shown
from lossmeter.report._markup import one_line, terminal_text

# A dispatcher that does what it should has no event in the other classes.
_USUAL = ("sent", "acked", "refused", "unknown", "lost", "duplicated", "unresolved")
_NEVER_ALONE = {"sent", "acked", "delivered", "unknown"}
# The columns that leave a narrow table first come last; the others as they stand here.
_ORDER = ("predicted", "acked", "duplicated", "recovery_s", "refused", "unresolved")
_LAST = ("throughput_per_s", "latency_p99_ms", "unknown", "sent", "evidence")
_BEYOND = 100


def result_table(outcomes: Sequence[Outcome]) -> RenderableType:
    """Return the table of results with the reasons of all that did not pass below it."""
    grid = Grid(
        "Events lost, by experiment and target",
        list(_columns(outcomes)),
        outcomes,
        group=lambda outcome: outcome.experiment,
    )
    return Group(grid, *_notes(outcomes))


def _columns(outcomes: Sequence[Outcome]) -> Iterator[Column[Outcome]]:
    yield Column("experiment", lambda o: o.experiment, 0, words=True)
    yield Column("target", lambda o: o.target, 0, words=True)
    if len({outcome.runtime for outcome in outcomes}) > 1:
        yield Column("runtime", lambda o: o.runtime, 1, words=True, matters=lambda _: True)
    names = [*(f.name for f in fields(Counts) if f.name != "delivered"), "recovery_s"]
    names += [name for name in _compared(outcomes) if name not in names]
    names += [name for name in ("throughput_per_s", "latency_p99_ms") if name not in names]
    names.insert(names.index("lost") + 1, "predicted")
    for name in [*names, "evidence"]:
        yield _column(name, outcomes)
    yield Column("verdict", _verdict, 0, words=True)


def _compared(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the measures that were predicted of any of the runs, beside the loss."""
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    return list(dict.fromkeys(each.name for result in results for each in result.comparisons))


def _column(name: str, outcomes: Sequence[Outcome]) -> Column[Outcome]:
    order = [*_ORDER, *(n for n in _compared(outcomes) if n not in _LAST)]
    rank = order.index(name) if name in order else len(order) + (*_LAST, name).index(name)

    def matters(outcome: Outcome) -> bool:
        return isinstance(outcome, Result) and name in about(outcome)

    def show(outcome: Outcome) -> Shown:
        return _SHOWN.get(name, _figure(name))(outcome) if isinstance(outcome, Result) else NOTHING

    if name == "lost":
        rank = 0
    elif not any(map(matters, outcomes)):
        rank += _BEYOND
    return Column(
        {"latency_p99_ms": "p99"}.get(name, words.measure_name(name)),
        show,
        rank + 2 * (name != "lost"),
        matters=matters,
        always=name in {*_USUAL, "predicted", "recovery_s"},
    )


def about(result: Result) -> set[str]:
    """Return the figures that a run is about: what was predicted, bounded, or went wrong."""
    named = {"acked", "predicted", *(each.name for each in result.comparisons)}
    named |= {n for n, number in result.counts.as_dict().items() if number} - _NEVER_ALONE
    if result.recovery_s is not None or (result.budget and result.budget.recovery_s_max):
        named.add("recovery_s")
    if result.predicted is not None and result.predicted.duplicated_max:
        named.add("duplicated")
    if not result.evidence:
        named |= {"throughput_per_s", "latency_p99_ms"}
    return named


def _figure(name: str) -> Callable[[Result], Shown]:
    """Return how a figure is shown: a dash where 0 would only mean that it is unknown."""

    def show(result: Result) -> Shown:
        if name in result.not_measured:
            return NOTHING
        return words.measured(name, _value(result, name))

    return show


def _value(result: Result, name: str) -> float | None:
    if name in Counts.__slots__:
        number: float = getattr(result.counts, name)
        return number
    load = result.load
    known = {
        "recovery_s": result.recovery_s,
        "throughput_per_s": load.persisted_per_s if load else None,
        "latency_p99_ms": load.latency_p99_ms if load else None,
    }
    compared = {each.name: each.measured for each in result.comparisons}
    return known.get(name, compared.get(name))


def _lost(result: Result) -> Shown:
    shown = _figure("lost")(result)
    return Line(str(shown), "strong")


def _verdict(outcome: Outcome) -> Shown:
    return Line(str(outcome.verdict), str(outcome.verdict))


def _predicted(result: Result) -> Shown:
    predicted = result.predicted
    if predicted is None or predicted.lost is None:
        return NOTHING
    # Of this figure: another one may be missed while the loss is as predicted.
    off = abs(result.difference or 0) > predicted.lost_tolerance
    return _lost_predicted(predicted) + (" ✗" if off else "")


def _lost_predicted(predicted: Predicted) -> str:
    tolerance = f" ± {words.count(predicted.lost_tolerance)}" if predicted.lost_tolerance else ""
    return words.count(predicted.lost) + tolerance


def _evidence(result: Result) -> Shown:
    holding = sum(evidence.holds for evidence in result.evidence)
    return f"{holding} of {len(result.evidence)}" if result.evidence else NOTHING


def _late(result: Result) -> Shown:
    """Return how many came late, and the most by which one did."""
    shown = _figure("late")(result)
    return f"{shown} (by {words.seconds(result.late_by_s)})" if result.late_by_s else shown


_SHOWN: dict[str, Callable[[Result], Shown]] = {
    "late": _late,
    "lost": _lost,
    "predicted": _predicted,
    "evidence": _evidence,
}


def _notes(outcomes: Sequence[Outcome]) -> list[RenderableType]:
    notes: list[RenderableType] = []
    for outcome in outcomes:
        where = f"{outcome.experiment} on {outcome.target}"
        if outcome.verdict is not Verdict.PASS:
            reason = terminal_text(outcome.reason)
            notes.append(Text.from_markup(f"[bold]{terminal_text(where)}[/bold]: {reason}"))
        if (
            isinstance(outcome, Result)
            and outcome.prediction_holds is False
            and outcome.predicted is not None
        ):
            missed = "; ".join(_missed(outcome, outcome.predicted))
            basis = outcome.predicted.basis
            reported = terminal_text(f"{where}: prediction missed: {missed} ({basis})")
            notes.append(Text.from_markup(reported))
    return notes


def lost_line(result: Result) -> str | None:
    """Return one line saying what the lost events died of, and how long acks had been in vain.

    None when none was lost.
    """
    if not result.counts.lost:
        return None
    where = result.lost_where
    reported = result.stages or {
        **result.lost_when,
        "at the beginning": where.prefix,
        "in between": where.middle,
        "at the end of their producer": where.suffix,
    }
    line = ", ".join(f"{number:,} {what}" for what, number in reported.items() if number)
    if result.volatile_ms is not None:
        line += f"; acked up to {words.milliseconds(result.volatile_ms)} before the fault struck"
    return f"lost: {line}"


def _missed(result: Result, predicted: Predicted) -> list[str]:
    """Return each figure that the prediction missed, measured beside predicted."""
    missed = []
    if result.difference is not None and abs(result.difference) > predicted.lost_tolerance:
        missed.append(
            f"{words.count(result.counts.lost)} lost, {_lost_predicted(predicted)} predicted"
        )
    most = predicted.duplicated_max
    if most is not None and result.counts.duplicated > most:
        number = words.count(result.counts.duplicated)
        missed.append(f"{number} duplicated, at most {words.count(most)} predicted")
    return missed + [
        f"{words.measure_name(each.name)} {words.measured(each.name, each.measured)}, "
        f"{words.measured(each.name, each.predicted)} ± "
        f"{words.measured(each.name, each.tolerance)} predicted"
        for each in result.comparisons
        if each.holds is False
    ]


def detail(result: Result) -> RenderableType:
    """Return everything about one run: classes, evidence, prediction, timings."""
    counts: Grid[str] = Grid(
        "Ledger",
        (
            Column("class", words.measure_name, 0, words=True),
            Column(
                "events",
                lambda name: (
                    "not measured"
                    if name in result.not_measured
                    else words.count(getattr(result.counts, name))
                ),
                0,
            ),
        ),
        list(result.counts.as_dict()),
    )
    evidence: Grid[Evidence] = Grid(
        "Evidence",
        (
            Column("source", lambda seen: seen.source, 0, words=True),
            Column("claim", lambda seen: seen.claim, 0, words=True),
            Column("value", lambda seen: seen.value, 0, words=True),
            Column("holds", lambda seen: "yes" if seen.holds else Line("NO", "fail"), 0),
        ),
        result.evidence,
    )
    died = lost_line(result)
    lines = [f"Hypothesis: {result.hypothesis}", f"Reason: {result.reason}"]
    if result.predicted is not None:
        lines.append(f"Predicted from: {result.predicted.basis}")
    if died is not None:
        lines.append(died.capitalize())
    lines += [f"Self-proof: {line}" for line in result.self_proof]
    if (share := result.self_proof_share) is not None:
        lines.append(f"Self-proof took {words.proof_cost(result.timings_s['self_proof'], share)}")
    if result.load is not None and result.load.cpus:
        lines.append(f"CPUs used under the load: {words.cpus(result.load.cpus)}")
    timings = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.timings_s.items())
    lines.append(f"Timings: {timings}")
    return Group(counts, "", evidence, "", *(Text(one_line(line)) for line in lines))
