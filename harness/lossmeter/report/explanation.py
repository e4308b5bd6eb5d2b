"""A run in a few sentences, for a reader who did not write its experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lossmeter.model import Verdict, plural
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.record.mark_format import Stage
from lossmeter.record.result import Result
from lossmeter.report import words
from lossmeter.report.predicted_view import predicted_lines

# Why an event that came so far is gone, and what would have kept it.
_NOTABLE_S = 0.1
_MEMORY = "they were in the memory of the process, which ended"
_KEEP = "acknowledge only what a durable queue has, or let the shutdown wait for the queue"
_CAUSES: Mapping[str, tuple[str, str]] = {
    Stage.ACCEPTED.words: (_MEMORY, _KEEP),
    Stage.QUEUED.words: (_MEMORY, _KEEP),
    Stage.TAKEN.words: (
        "workers had taken them out of the queue, and nothing else held them",
        "take an event out of the queue only when it is persisted",
    ),
    Stage.RETRYING.words: (
        "they waited in memory to be tried again",
        "keep what is to be tried again where the queue is",
    ),
    Stage.DROPPED.words: (
        "each attempt failed, and nothing took what was given up",
        "add a dead-letter queue, and more or longer retries",
    ),
    Stage.OVERFLOWED.words: (
        "the dead-letter queue was full",
        "give the dead letters a table of their own, without a bound",
    ),
    Stage.UNLETTERED.words: (
        "the dead-letter queue could not be reached",
        "keep dead letters elsewhere than what failed",
    ),
    Stage.ABANDONED.words: (
        "the shutdown was over before the queue was empty",
        "give it a longer grace, or drain before it ends",
    ),
    Stage.IN_BROKER.words: (
        "the broker had said yes before they were durable in it",
        "have the broker confirm when it has them on disk, or on a replica",
    ),
}


def explained(result: Result, facts: Facts, others: Sequence[Result] = ()) -> list[str]:
    """Return what was done, what was lost and why, what to change, and how sure that is.

    Args:
        result: of the run.
        facts: what it saved of itself.
        others: results of the same experiment on other targets, for what they lost.
    """
    said = [_done(result, facts), _lost(result), *_causes(result)]
    if better := _better(result, others):
        said.append(better)
    return [*said, _sure(result)]


def _done(result: Result, facts: Facts) -> str:
    counts = result.counts
    became = [
        plural(number, one, many)
        for number, one, many in (
            (counts.acked, "was acked", "were acked"),
            (counts.refused, "was refused", "were refused"),
            (counts.unknown, "got no answer that says either", "got no answer that says either"),
        )
        if number
    ]
    sent = (
        f"{plural(counts.sent, 'event was', 'events were')} sent to {result.target} at "
        f"{words.figure(facts.rate_per_s)} a second: {', '.join(became) or 'none was answered'}."
    )
    struck = " ".join(_fault(each) for each in facts.faults if each.injected_ns is not None)
    return f"{sent} {struck or 'Nothing was done to it.'}"


def _fault(fault: FaultRecord) -> str:
    held = [
        f"{plural(number, 'event')} {where}"
        for number, where in ((fault.queue_length, "queued"), (fault.in_flight, "in hand"))
        if number is not None
    ]
    while_ = f" with {' and '.join(held)}" if held else ""
    long = f", for {fault.held_s:.1f} s" if (fault.held_s or 0) >= _NOTABLE_S else ""
    survived = "; it was survived" if fault.survived else ""
    return f"Then the fault {fault.fault} struck{while_}{long}{survived}."


# Of one event, and of several.
_STRANDED = ("waits in the broker without an owner", "wait in the broker without an owner")
_LATE = ("came only when the broker gave it again", "came only when the broker gave them again")
_UNRESOLVED = (
    "got no answer and is not there: nobody can say",
    "got no answer and are not there: nobody can say",
)


def _lost(result: Result) -> str:
    counts = result.counts
    if not counts.acked:
        return "Nothing was acked, so nothing can be said of loss."
    share = words.percent(counts.lost, counts.acked)
    were = "was" if counts.lost == 1 else "were"
    lost = f"{words.count(counts.lost)} of the acked events ({share}) {were} lost."
    more = [
        plural(number, one, many)
        for number, one, many in (
            (counts.stranded, *_STRANDED),
            (counts.dead_lettered, "is a dead letter", "are dead letters"),
            (counts.pending, "still waited at the end", "still waited at the end"),
            (counts.late, *_LATE),
            (counts.duplicated, "was persisted more than once", "were persisted more than once"),
            (counts.unresolved, *_UNRESOLVED),
        )
        if number
    ]
    return f"{lost} {', '.join(more)}." if more else lost


def _causes(result: Result) -> list[str]:
    if not result.counts.lost:
        return []
    if result.stages is None:
        when = ", ".join(f"{words.count(n)} {what}" for what, n in result.lost_when.items() if n)
        return [
            f"Where they were is not marked by this target; by time against the fault: {when}."
            if when
            else "Where they were is not marked by this target."
        ]
    said = []
    for stage, number in sorted(result.stages.items(), key=lambda item: -item[1]):
        why, change = _CAUSES.get(stage, ("", ""))
        because = f": {why}. To keep them, {change}." if why else "."
        said.append(f"{plural(number, 'was', 'were')} lost {stage}{because}")
    return said


def _better(result: Result, others: Sequence[Result]) -> str:
    """Return which targets lost less in runs of the same experiment."""
    less = {
        each.target: each.counts.lost
        for each in others
        if each.target != result.target
        and each.verdict is Verdict.PASS
        and each.counts.lost < result.counts.lost
    }
    if not less:
        return ""
    named = ", ".join(f"{name} {words.count(lost)}" for name, lost in sorted(less.items()))
    return f"Recorded runs of the same experiment lost less on other targets: {named}."


def _sure(result: Result) -> str:
    sources = {each.source for each in result.evidence if each.holds}
    parts = [f"The verdict is {result.verdict}: {result.reason}."]
    if sources:
        parts.append(f"That the fault struck is shown by {plural(len(sources), 'source')}.")
    for line in predicted_lines(result):
        if line.name == "lost" and line.holds is not None:
            agrees = "agrees with" if line.holds else "differs from"
            parts.append(f"What was lost {agrees} the model, which expects {line.predicted}.")
        elif line.holds is False:
            parts.append(f"The model expects {line.name} {line.predicted}; it was {line.measured}.")
    return " ".join(parts)
