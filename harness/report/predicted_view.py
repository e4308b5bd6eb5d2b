"""What a run's prediction says beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report import words
from harness.result import Comparison, Result


@dataclass(frozen=True, slots=True)
class Scale:
    """A predicted range and a measurement on one bar, in per cent of its width."""

    begin: float
    width: float
    at: float


@dataclass(frozen=True, slots=True)
class PredictedLine:
    """One figure predicted beside the same measured."""

    name: str
    predicted: str
    measured: str
    difference: str
    holds: bool | None
    scale: Scale | None


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
    number = result.counts.duplicated
    if not was_collected(result):
        return PredictedLine("duplicated", f"≤ {words.count(most)}", "–", "–", None, None)
    over = f"{max(0, number - most):+,}" if number > most else "–"
    scale = _scale(0, most, number)
    return PredictedLine(
        "duplicated", f"≤ {words.count(most)}", words.count(number), over, number <= most, scale
    )


def _predicted_line(of: Comparison) -> PredictedLine:
    name = of.name.replace("_per_s", "").removesuffix("_s").replace("_", " ")
    tolerance = f" ± {_number(of.tolerance)}" if of.tolerance else ""
    measured, difference, scale = "–", "–", None
    if of.measured is not None and of.difference is not None:
        measured, difference = _number(of.measured), _signed(of.difference)
        scale = _scale(of.predicted - of.tolerance, of.predicted + of.tolerance, of.measured)
    return PredictedLine(
        f"{name}, {of.unit}",
        f"{_number(of.predicted)}{tolerance}",
        measured,
        difference,
        of.holds,
        scale,
    )


def _scale(low: float, high: float, at: float) -> Scale:
    """Return a bar from 0, or below, to a little above the larger end."""
    begin = min(0.0, low, at)
    whole = (max(high, at, begin + 1e-9) - begin) * 1.15
    return Scale(
        *(
            round(100 * part / whole, 2)
            for part in (max(low, 0) - begin, high - max(low, 0), at - begin)
        )
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.3g}"


def _signed(value: float) -> str:
    shown = _number(abs(value))
    return shown if shown == "0" else f"{'+' if value > 0 else '−'}{shown}"


def basis_told(result: Result) -> str:
    """Return what the prediction rests on; empty where there is none."""
    return f"Predicted from: {result.predicted.basis}" if result.predicted is not None else ""


def tolerances_told(result: Result) -> list[str]:
    """Return why each prediction has the tolerance that it has."""
    told = []
    if result.predicted is not None and result.predicted.tolerance_reason:
        told.append(
            f"lost ± {result.predicted.lost_tolerance}: {result.predicted.tolerance_reason}."
        )
    return told + [
        f"{each.name} ± {_number(each.tolerance)}: {each.reason}."
        for each in result.comparisons
        if each.reason
    ]
