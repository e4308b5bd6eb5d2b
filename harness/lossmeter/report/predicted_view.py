"""What a run's prediction says beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from lossmeter.record.result import Comparison, Result
from lossmeter.report import words
from lossmeter.report._layout import NOTHING

Bar = tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True)
class PredictedLine:
    """One figure predicted beside the same measured."""

    name: str
    predicted: str
    measured: str
    difference: str
    holds: bool | None
    bar: Bar = ()


def was_collected(result: Result) -> bool:
    """Return whether the classes that need rows mean anything."""
    return "lost" not in result.not_measured and bool(result.counts.sent)


def predicted_lines(result: Result) -> list[PredictedLine]:
    """Return each predicted figure beside the same measured, the loss first."""
    predicted = result.predicted
    lines = []
    if predicted is not None and predicted.lost is not None:
        holds = None
        if result.difference is not None:
            holds = abs(result.difference) <= predicted.lost_tolerance
        lines.append(
            _predicted_line(
                Comparison(
                    name="lost",
                    unit="events",
                    predicted=predicted.lost,
                    measured=result.counts.lost if result.difference is not None else None,
                    difference=result.difference,
                    tolerance=predicted.lost_tolerance,
                    reason=predicted.tolerance_reason,
                    holds=holds,
                )
            )
        )
    if predicted is not None and predicted.duplicated_max is not None:
        lines.append(_at_most(result, predicted.duplicated_max))
    return lines + [_predicted_line(comparison) for comparison in result.comparisons]


def _at_most(result: Result, most: int) -> PredictedLine:
    number, allowed = result.counts.duplicated, f"≤ {words.count(most)}"
    if not was_collected(result):
        return PredictedLine("duplicated", allowed, NOTHING, NOTHING, None)
    over = f"+{words.count(number - most)}" if number > most else NOTHING
    bar = _bar(0, most, number)
    return PredictedLine("duplicated", allowed, words.count(number), over, number <= most, bar)


def _predicted_line(of: Comparison) -> PredictedLine:
    def show(value: float) -> str:
        return words.measured(of.name, value)

    predicted = show(of.predicted) + (f" ± {show(of.tolerance)}" if of.tolerance else "")
    name = words.measure_name(of.name)
    if of.measured is None or of.difference is None:
        return PredictedLine(name, predicted, NOTHING, NOTHING, of.holds)
    sign = "+" if of.difference > 0 else "−" if of.difference < 0 else ""
    bar = _bar(of.predicted - of.tolerance, of.predicted + of.tolerance, of.measured)
    difference = f"{sign}{show(abs(of.difference))}"
    return PredictedLine(name, predicted, show(of.measured), difference, of.holds, bar)


def _bar(low: float, high: float, at: float) -> Bar:
    """Return a bar from 0, or below, to a little above the larger end."""
    begin = min(0.0, low, at)
    whole = (max(high, at, begin + 1e-9) - begin) * 1.15
    left, width, place = (
        round(100 * part / whole, 2)
        for part in (max(low, 0) - begin, high - max(low, 0), at - begin)
    )
    return ("range", left, width), ("dot", place, 0)


def basis_in_words(result: Result) -> str:
    """Return what the prediction rests on; empty where there is none."""
    return f"Predicted from: {result.predicted.basis}" if result.predicted is not None else ""


def tolerances_in_words(result: Result) -> list[str]:
    """Return why each prediction has the tolerance that it has."""
    reported = []
    if result.predicted is not None and result.predicted.tolerance_reason:
        reported.append(
            f"lost ± {words.count(result.predicted.lost_tolerance)}: "
            f"{result.predicted.tolerance_reason}."
        )
    return reported + [
        f"{words.measure_name(each.name)} ± {words.measured(each.name, each.tolerance)}: "
        f"{each.reason}."
        for each in result.comparisons
        if each.reason
    ]
