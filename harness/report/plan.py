"""The model's answers for an engineer's own numbers, as a table."""

from __future__ import annotations

from rich.table import Table

from harness.predict.queue import Dispatcher, recommended_backend


def plan_table(dispatcher: Dispatcher, queued: int) -> Table:
    """Return what the model says of a dispatcher.

    Args:
        dispatcher: its numbers.
        queued: events in the queue when it is asked to stop, for the grace period's loss.
    """
    table = Table(
        title="What the model predicts",
        caption=f"for {dispatcher.basis}",
        title_justify="left",
        caption_justify="left",
        show_header=False,
    )
    table.add_column("question")
    table.add_column("answer", justify="right")
    for question, answer in _answers(dispatcher, queued):
        table.add_row(question, answer)
    return table


def _answers(of: Dispatcher, queued: int) -> list[tuple[str, str]]:
    return [
        ("capacity of the workers", f"{of.service_rate_per_s:.4g} events/s"),
        ("throughput in the long run", f"{of.throughput_per_s:.4g} events/s"),
        ("backlog grows by", f"{of.backlog_growth_per_s:.4g} events/s"),
        ("queue is full after", _seconds(of.full_after_s)),
        ("first push that is refused is sent after", _seconds(of.first_refused_after_s)),
        ("and is told so after", _seconds(of.first_refusal_after_s)),
        ("refused from then on", f"{of.refused_per_s:.4g} events/s"),
        (f"a crash loses, with {queued} queued in memory", f"{of.crash_loss(queued)} events"),
        ("a crash loses at worst, queue in memory", f"{of.crash_loss(of.capacity)} events"),
        ("a crash loses, plain Redis list", f"{of.workers} events at most"),
        ("a crash loses, Redis stream or Kafka", f"0 events, {of.workers} twice at most"),
        (
            f"a stop with {of.grace_s:g} s of grace loses, with {queued} queued",
            f"{of.grace_loss(queued)} events",
        ),
        (f"grace that {queued} queued events need", f"{of.drain_s(queued):.4g} s"),
        ("recommended for this rate", recommended_backend(of.rate_per_s)),
    ]


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.4g} s"
