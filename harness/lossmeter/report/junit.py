"""Judged runs as JUnit XML, in the dialect that Jenkins, GitLab and GitHub's readers share.

Source: the ``junit-10`` schema of the Jenkins xUnit plugin; ``tests/junit.xsd`` is the part
that is used here.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence

from lossmeter.model import Verdict
from lossmeter.record.outcome import Lack, Outcome
from lossmeter.record.result import Result
from lossmeter.report import words
from lossmeter.report._markup import xml_text
from lossmeter.report.seldom import seldom_shown

# The element that stands for each outcome; a pass has none.
_ELEMENT: Mapping[str, str] = {
    Verdict.FAIL: "failure",
    Verdict.INCONCLUSIVE: "error",
    Verdict.ERROR: "error",
    Lack.MISSING: "error",
    Lack.DAMAGED: "error",
    Lack.SKIPPED: "skipped",
}

_REPORTED = ("sent", "acked", "refused", "unknown")
_PERSISTED = ("duplicated", "unresolved")


def junit_xml(outcomes: Sequence[Outcome]) -> str:
    """Return the file's text: a suite per experiment, a case per target and runtime."""
    root = ET.Element("testsuites", {"name": "lossmeter", **_totals(outcomes)})
    for experiment in dict.fromkeys(outcome.experiment for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.experiment == experiment]
        skipped = str(sum(outcome.verdict == Lack.SKIPPED for outcome in own))
        attributes = {"name": xml_text(experiment), "skipped": skipped, **_totals(own)}
        suite = ET.SubElement(root, "testsuite", attributes)
        for outcome, case_name in zip(own, _case_names(own), strict=True):
            _case(suite, outcome, case_name)
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _totals(outcomes: Sequence[Outcome]) -> dict[str, str]:
    elements = [_ELEMENT.get(outcome.verdict) for outcome in outcomes]
    return {
        "tests": str(len(outcomes)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
        "time": f"{sum(_seconds(outcome) for outcome in outcomes):.3f}",
    }


def _seconds(outcome: Outcome) -> float:
    return outcome.timings_s.get("total", 0.0) if isinstance(outcome, Result) else 0.0


def _case_names(outcomes: Iterable[Outcome]) -> list[str]:
    """Return names that stay the same from pipeline to pipeline; repeats are numbered."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for outcome in outcomes:
        name = xml_text(f"{outcome.target} [{outcome.runtime}]")
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return names


def _case(suite: ET.Element, outcome: Outcome, name: str) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=xml_text(f"lossmeter.{outcome.experiment}"),
        name=name,
        time=f"{_seconds(outcome):.3f}",
    )
    kind = _ELEMENT.get(outcome.verdict)
    if kind == "skipped":
        ET.SubElement(case, kind, message=xml_text(outcome.reason))
    elif kind is not None:
        message = xml_text(outcome.reason)
        element = ET.SubElement(case, kind, message=message, type=outcome.verdict)
        element.text = xml_text("\n".join(_lines(outcome)))
    if isinstance(outcome, Result):
        ET.SubElement(case, "system-out").text = xml_text("\n".join(_figures(outcome)))


def _lines(outcome: Outcome) -> list[str]:
    if not isinstance(outcome, Result):
        return [f"{outcome.verdict}: {outcome.reason}"]
    reasons = [f"- {breach}" for breach in outcome.breaches]
    return [f"{outcome.verdict}: {outcome.reason}", *reasons, *_figures(outcome)]


def _figures(result: Result) -> list[str]:
    reported = [f"{name} {_measured(result, name)}" for name in _REPORTED]
    kept = ["lost", *seldom_shown(lambda name: [result.count(name)]), *_PERSISTED]
    held = [f"{words.measure_name(name)} {_measured(result, name)}" for name in kept]
    lines = [
        f"run {result.run_id}, runtime {result.runtime}, seed {result.seed}",
        ", ".join(reported),
        ", ".join(held),
    ]
    if result.predicted is not None and result.predicted.lost is not None:
        predicted = result.predicted
        lines.append(f"predicted lost {predicted.lost:,} ± {predicted.lost_tolerance:,}")
    if result.recovery_s is not None:
        lines.append(f"recovery {result.recovery_s:.3f} s")
    if result.budget is not None:
        bounds = result.budget.model_dump(exclude_none=True)
        lines.append("budget " + ", ".join(f"{name} = {bound}" for name, bound in bounds.items()))
    return lines


def _measured(result: Result, name: str) -> str:
    number = result.count(name)
    return "not measured" if number is None else words.count(number)
