"""Somebody else's dispatcher loses known events, whatever it stores the others in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.support.foreign_target import HTTP, SOURCE
from tests.support.program import lossmeter

REMOVING = SOURCE.with_name("removing.py")

EXPERIMENT = """
from lossmeter.experiment import Experiment, Observed, Variant, steady
from lossmeter.model import Predicted

def predict(seen: Observed) -> Predicted:
    load = seen.load
    lost = sum(len(range(7, load.sent_by(producer), 10)) for producer in load.ids)
    return Predicted(lost=lost, duplicated_max=0, basis="each number that ends in 7")

EXPERIMENT = Experiment(
    name="forgetful",
    hypothesis="What a dispatcher forgets is found, one by one.",
    variants=(Variant("", steady(80, 2), (), {"loses": 1}),),
    targets=(),
    predict=predict,
)
"""
BUDGET = """
[forgetful.default]
max_lost = 16
max_duplicated = 0
min_acked = 160
"""
TARGET = """
name = "{name}"
summary = "threads and a queue.Queue"
ack_level = "enqueued"
services = {services}
proxied = {proxied}

[start]
command = ["{{python}}", "{source}"]
[start.environment]
PORT = "{{port}}"
DSN = "{dsn}"
THREADS = "4"

{http}
[settings]
loses = "LOSES"

[persisted]
quiet_s = 0.3
remove = {remove}
{persisted}
"""
ID = r'"ident": "(?P<producer>\d+)-(?P<sequence>\d+)", "body": "(?P<payload>\w+)"'
SPLIT = (
    "select substr(ident, 1, instr(ident, '-') - 1) as producer, "
    "substr(ident, instr(ident, '-') + 1) as sequence, body as payload, n as position, "
    "at as persisted_at from jobs order by n"
)
# Where a kind's events are read: servers, where the dispatcher writes them, the table.
KINDS = {
    "sqlite": ([], "sqlite://{run_folder}/jobs.db", f'file = "jobs.db"\nquery = "{SPLIT}"'),
    "jsonl": (
        [],
        "file://{run_folder}/jobs.jsonl",
        f"file = \"jobs.jsonl\"\npattern = '''{ID}}}, \"at\": (?P<persisted_at>[0-9.]+)'''",
    ),
    "command": (
        [],
        "file://{run_folder}/jobs.jsonl",
        f"command = [\"cat\", \"{{run_folder}}/jobs.jsonl\"]\npattern = '''{ID}'''",
    ),
}
KINDS["redis"] = (
    ["redis"],
    "{redis.url}",
    """key = "jobs"
type = "stream"
field = "ident"
pattern = '(?P<producer>\\d+)-(?P<sequence>\\d+)'""",
)
KINDS["kafka"] = (
    ["kafka"],
    "kafka://{kafka.username}:{kafka.password}@{kafka.address}",
    """topic = "jobs"
record = "key"
pattern = '(?P<producer>\\d+)-(?P<sequence>\\d+)'
[persisted.settings]
"security.protocol" = "SASL_PLAINTEXT"
"sasl.mechanism" = "PLAIN"
"sasl.username" = "{kafka.username}"
"sasl.password" = "{kafka.password}\"""",
)
KINDS["webhook"] = (["webhook"], "{webhook.url}", f"pattern = '''{ID}'''")
ELEMENTS = (
    ["redis"],
    "list+{redis.url}",
    """key = "jobs"
type = "list"
pattern = '(?P<producer>\\d+)-(?P<sequence>\\d+)'""",
)
KINDS["mysql"] = (["mariadb"], "{mariadb.url}", f'query = "{SPLIT}"')
DATED = {"mysql", "webhook", "redis", "kafka", "sqlite", "jsonl"}


def prepare(project: Path, kinds: Iterable[str], name: str, experiment: str, budget: str) -> None:
    for kind in kinds:
        services, dsn, table = KINDS.get(kind, ELEMENTS)
        removes = dsn.partition(":")[0].strip("{}") not in {"kafka", "webhook.url"}
        remove = ["{python}", str(REMOVING), dsn] if removes else []
        (project / f"{kind}.toml").write_text(
            TARGET.format(
                name=kind,
                source=SOURCE,
                http=HTTP,
                services=json.dumps(services),
                # The dispatcher's way; the events are read around it.
                proxied=json.dumps([name for name in services if name == "mariadb"]),
                dsn=dsn,
                remove=json.dumps(remove),
                persisted=f'kind = "{kind.partition("-")[0]}"\n{table}',
            )
        )
    (project / "experiments" / f"{name}.py").write_text(experiment)
    with (project / "experiments" / "budgets.toml").open("a") as budgets:
        budgets.write(budget)


def test_what_is_forgotten_is_found_exactly(project: Path) -> None:
    prepare(project, KINDS, "forgetful", EXPERIMENT, BUDGET)
    targets = [word for kind in KINDS for word in ("--target", f"{kind}.toml")]
    local = ("--runtime", "local", "--seed", "7", "--json", "-")
    done = lossmeter("run", "forgetful", *targets, *local)
    assert done.code == 0, done.err + done.out
    results = {result["target"]: result for result in done.results()}
    assert results.keys() == KINDS.keys()
    for kind, result in results.items():
        counts = result["counts"]
        assert (counts["acked"], counts["lost"], counts["delivered"]) == (160, 16, 144), kind
        assert counts["unexpected"] == counts["corrupted"] == counts["duplicated"] == 0, kind
        assert result["prediction_holds"] is True, kind
        assert (result["load"]["persisted_per_s"] is not None) == (kind in DATED), kind
        rows = np.load(project / "results" / "runs" / result["run_id"] / "rows.npy")
        assert set((rows["sequence"] % 10).tolist()) == set(range(10)) - {7}, kind


REMOVED = """
[experiment]
hypothesis = "What is taken out of a store is found, one by one."
targets = ["sqlite.toml"]
prediction = "removed-rows"
exact = true
[load]
rate_per_s = 80
duration_s = 2
[bounds]
max_lost = 20
max_duplicated = 0
[[fault]]
kind = "remove-rows"
at_s = 1
hold_s = "until settled"
parameters = {count = 20}
"""


def test_what_is_taken_out_of_a_store_is_found_exactly_or_the_store_is_not_read(
    project: Path,
) -> None:
    kinds = ("sqlite", "jsonl", "command", "mysql", "redis-elements", "redis", "kafka", "webhook")
    prepare(project, kinds, "unused", "", "")
    (project / "experiments" / "unused.py").unlink()
    (project / "removed.toml").write_text(REMOVED)
    targets = [word for kind in kinds for word in ("--target", f"{kind}.toml")]
    done = lossmeter("run", "removed.toml", *targets, "--runtime", "local", "--json", "-")
    results = {result["target"]: result for result in done.results()}
    for kind in ("sqlite", "jsonl", "command", "mysql", "redis-elements"):
        result = results.pop(kind)
        told = f"{kind}: {result['reason']}\n{done.err}"
        counts = result["counts"]
        assert (counts["acked"], counts["lost"], counts["delivered"]) == (160, 20, 140), told
        assert counts["unexpected"] == counts["duplicated"] == 0, told
        assert (result["verdict"], result["prediction_holds"]) == ("pass", True), told
        assert {seen["source"] for seen in result["evidence"] if seen["holds"]} == {
            "remove-command",
            "store",
        }, told
    # A stream counts what was ever in it: no loss by trimming is taken for one of the target's.
    result = results.pop("redis")
    assert result["verdict"] != "pass", done.err
    assert "20 entries of 'jobs' were trimmed or deleted" in result["reason"]
    assert set(results) == {"kafka", "webhook"}
    for kind, result in results.items():
        assert result["verdict"] not in {"pass", "fail"}, result
        assert f"skipped removed on {kind}: fault remove-rows needs a target that is" in done.err


CALLED = """
from lossmeter.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

LOAD = steady(80, 2)

def predict(seen: Observed) -> Predicted:
    every = int(seen.parameters.get("every", 0))
    if every > 1:
        lost = seen.load.events // every
        return Predicted(lost=lost, duplicated_max=0, basis=f"each {every}th call is refused")
    return Predicted(basis="as long as the receiver is as it is")

def faults(trigger, hold_s, **how):
    return (PlannedFault("webhook", trigger, hold_s, how),)

EXPERIMENT = Experiment(
    name="called",
    hypothesis="Calls that a receiver does not take are lost.",
    variants=(
        Variant("refuse", LOAD, faults(Trigger(load="before"), None, answer="refuse", every=8)),
        Variant("away", LOAD, faults(Trigger(at_s=0.5), 0.5, answer="away")),
        Variant("slow", LOAD, faults(Trigger(at_s=0.5), 0.5, answer="slow", delay_s=0.2)),
    ),
    targets=(),
    predict=predict,
)
"""


def test_a_receiver_that_refuses_is_away_or_slow_costs_what_it_did_not_take(project: Path) -> None:
    budget = "".join(
        f"[called.{name}.default]\nmax_lost = {most}\nmin_acked = 160\nmax_duplicated = 0\n"
        for name, most in (("refuse", 20), ("away", 150), ("slow", 0))
    )
    prepare(project, ["webhook"], "called", CALLED, budget)
    done = lossmeter(
        *("run", "called", "--target", "webhook.toml", "--runtime", "local"),
        *("--seed", "7", "--json", "-"),
    )
    assert done.code == 0, done.err + done.out
    refused, away, slow = done.results()
    assert refused["counts"]["lost"] == 20
    assert refused["prediction_holds"] is True
    assert away["counts"]["lost"] > 0
    assert slow["counts"]["lost"] == 0
    for result in (refused, away, slow):
        assert result["counts"]["unexpected"] == result["counts"]["corrupted"] == 0
        assert {seen["source"] for seen in result["evidence"] if seen["holds"]} == {
            "own-call",
            "receiver",
        }


def test_a_store_that_cannot_be_is_refused_before_anything_is_started(project: Path) -> None:
    for table, said in (
        ('kind = "jsonl"', "target theirs: persisted.file: Field required"),
        ('kind = "paper"', "persisted 'paper' does not exist; known are command"),
        (
            'kind = "command"\ncommand = ["cat", "{redis.url}"]',
            "target theirs: persisted: {redis.url} is not known; known are {python}, {run_folder}",
        ),
    ):
        (project / "theirs.toml").write_text(
            TARGET.format(
                name="theirs",
                source=SOURCE,
                http=HTTP,
                services="[]",
                proxied="[]",
                dsn="file:///x",
                remove="[]",
                persisted=table,
            )
        )
        done = lossmeter("run", "control", "--target", "theirs.toml", "--runtime", "local")
        assert done.code == 4, done.err
        assert said in done.err
        assert not (project / "results" / "runs").exists()
