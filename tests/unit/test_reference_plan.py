"""What the reference tables consist of: no cell without a run or a reason, remedies by data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.plan.remedies import remedies
from lossmeter.plan.target import load_target
from lossmeter.run.admission import check, refusal
from lossmeter.studies.reference import Planned, planned
from lossmeter.world.runtimes.local import LocalRuntime

BACKENDS = ["channel", "redis-list", "redis", "redis-batch", "kafka", "kafka-batch"]


def plan(*experiments: str, targets: Sequence[str] = ()) -> dict[tuple[str, str], Planned]:
    found = planned(Catalogue.here(), experiments or ["rates"], targets, LocalRuntime())
    return {each.place: each for each in found}


def shorts(found: dict[tuple[str, str], Planned], name: str) -> dict[str, str]:
    return {
        target: each.refusal.short if each.refusal else ""
        for (experiment, target), each in found.items()
        if experiment == name
    }


def test_every_backend_is_in_every_row_with_a_run_or_a_reason() -> None:
    catalogue = Catalogue.here()
    found = plan(*catalogue.chosen(["all"]))
    rows = {name for name, _ in found}
    remedy_rows = {"queue-full-larger", "power-loss-flush-always"}
    assert rows > remedy_rows
    for name in rows - remedy_rows:
        assert set(BACKENDS) <= set(shorts(found, name)), name
    for (name, target), each in found.items():
        if each.refusal is not None:
            assert 0 < len(each.refusal.short.split()) <= 4, each.refusal
            assert name in each.refusal.why or target in each.refusal.why


def test_what_cannot_be_is_said_in_a_word_that_comes_from_the_plan() -> None:
    found = plan("rates", "broker-down", "broker-partition")
    assert shorts(found, "broker-down")["channel"] == "no broker"
    assert shorts(found, "broker-down")["kafka-batch"] == ""
    assert shorts(found, "broker-down-no-acks")["redis"] == "no acks"
    assert shorts(found, "broker-down-in-memory")["kafka"] == "no redis"
    # It has a broker, and reaches it past the proxy.
    assert shorts(found, "broker-partition")["redis-batch"] == "no proxy"
    why = found["broker-down", "channel"].refusal
    assert why is not None
    assert why.why == check(found["broker-down", "channel"].cell, LocalRuntime())


def test_what_nobody_could_judge_is_not_run(project: Path) -> None:
    head = '[experiment]\nhypothesis = "h"\ntargets = ["redis"]\n'
    text = head + "[load]\nrate_per_s = 9\nduration_s = 1\n"
    (project / "experiments" / "own.toml").write_text(text, encoding="utf-8")
    catalogue = Catalogue(Project.of(project))
    found = planned(catalogue, ["own", "control"], [], LocalRuntime())
    refused = {each.place: each.refusal for each in found}["own", "channel"]
    assert refused is not None
    assert refused.short == "no budget"
    assert "own on channel: no budget says" in refused.why


def test_no_shipped_backend_lacks_a_budget() -> None:
    catalogue = Catalogue.here()
    found = plan(*catalogue.chosen(["all"]))
    lacking = [p for p, each in found.items() if each.refusal and each.refusal.short == "no budget"]
    assert not lacking


def test_targets_that_are_named_are_asked_and_no_others() -> None:
    found = plan("crash", "control", targets=["channel-drain"])
    assert {target for _, target in found} == {"channel-drain"}


def test_remedies_also_run_where_nothing_goes_wrong() -> None:
    found = plan("control", "drain")
    assert "channel-drain" in shorts(found, "control")
    assert "channel-drain" not in shorts(plan("control"), "control"), "nobody lists it"


def test_a_contradiction_that_nobody_wrote_is_a_reason_and_one_in_a_file_an_error(
    project: Path,
) -> None:
    text = """
[experiment]
hypothesis = "A queue of 5000."
targets = ["redis"]
prediction = "crash"
[load]
rate_per_s = 1000
duration_s = 9
[[fault]]
kind = "sigkill"
when = "queue_length >= 4000"
at_s = 5
"""
    file = project / "experiments" / "deep.toml"
    file.write_text(text, encoding="utf-8")
    catalogue = Catalogue(Project.of(project))
    found = planned(catalogue, ["deep", "control"], [], LocalRuntime())
    by_place = {each.place: each.refusal for each in found}
    assert by_place["deep", "redis"] is None
    refused = by_place["deep", "channel"]
    assert refused is not None
    assert refused.short == "contradiction"
    assert "holds 1,000 events at most" in refused.why
    file.write_text(text.replace('["redis"]', '["channel"]'), encoding="utf-8")
    with pytest.raises(UsageError, match="holds 1,000 events at most"):
        planned(catalogue, ["deep"], [], LocalRuntime())


def test_the_sentence_and_its_short_form_are_of_one_refusal() -> None:
    for each in plan("control", "slow-handler", targets=["channel", "redis"]).values():
        refused = refusal(each.cell, LocalRuntime())
        assert check(each.cell, LocalRuntime()) == (refused.why if refused else None)


# Remedies.


def test_remedies_are_what_target_and_experiment_files_say() -> None:
    catalogue = Catalogue.here()
    found = remedies(catalogue, plan(*catalogue.chosen(["all"])))
    pairs = {(each.scenario, each.bare[1], each.name) for each in found}
    assert ("drain", "channel", "channel-drain") in pairs
    assert ("db-down", "redis", "redis-retry-dlq") in pairs
    # It extends a remedy, and is one of the same.
    assert ("dead-letter-full", "channel", "channel-retry-dlq") in pairs
    assert ("queue-full", "channel", "channel, larger") in pairs
    assert ("power-loss", "redis", "redis, flush-always") in pairs
    assert not any(name in {"redis", "kafka", "redis-batch"} for _, _, name in pairs)


def test_without_the_run_that_it_mends_there_is_no_remedy() -> None:
    catalogue = Catalogue.here()
    assert remedies(catalogue, [("drain", "channel-drain")]) == []
    assert remedies(catalogue, [("gone", "gone"), ("drain", "gone")]) == []
    (one,) = remedies(catalogue, [("drain", "channel-drain"), ("drain", "channel")])
    assert (one.bare, one.mended) == (("drain", "channel"), ("drain", "channel-drain"))


def test_a_remedy_of_itself_or_of_what_is_not_there_is_refused(project: Path) -> None:
    file = project / "targets" / "own.toml"
    file.write_text('extends = "channel"\nname = "own"\nremedy_of = "own"\n', encoding="utf-8")
    with pytest.raises(UsageError, match="remedy_of names the target itself"):
        load_target(file)
    head = '[experiment]\nhypothesis = "h"\ntargets = ["channel"]\n'
    load = "[load]\nrate_per_s = 1\nduration_s = 1\n"
    variants = '[[variant]]\nname = "a"\n[[variant]]\nname = "b"\nremedy_of = "{}"\n'
    path = project / "experiments" / "mended.toml"
    catalogue = Catalogue(Project.of(project))
    for wrong in ("b", "default", "other"):
        path.write_text(head + load + variants.format(wrong), encoding="utf-8")
        with pytest.raises(UsageError, match=rf"remedy_of \['{wrong}'\] is the name of no other"):
            catalogue.experiment("mended")
    path.write_text(head + load + variants.format("a"), encoding="utf-8")
    assert catalogue.experiment("mended").variants[1].remedy_of == "a"
