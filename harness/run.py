"""One run, told as a story."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

from harness import open_files
from harness.admission import PROXY, disks_of, services_of, strikes_servers
from harness.catalogue import Cell
from harness.collect import Auditor
from harness.conduct import LOOK_EVERY_S, Conductor, Counters
from harness.environment import save_environment
from harness.errors import (
    HarnessError,
    InterruptedRunError,
    LoadError,
    UsageError,
)
from harness.experiment import Observed, PlannedFault, Variant
from harness.facts import Facts
from harness.faults.stop import NAME as STOP
from harness.judge import judge_run
from harness.load.plan import LoadPlan
from harness.load.process import IN_POD, events_sent, load_command, pod_command
from harness.load.tally import Tally
from harness.marks import FOLDER as SHARED
from harness.marks import save_marks
from harness.model import Address
from harness.monitor.watch import Monitor, Watch, addresses
from harness.narrator import Narrator, Progress
from harness.probe import HealthProbe
from harness.result import Result
from harness.runtime import HelperProcess, LoadInPods, Order, RunningSite, Runtime, in_service
from harness.service import Service
from harness.services.toxiproxy import Proxies
from harness.shelf import Shelf
from harness.site import Startable

LOAD_START_WITHIN_S = 20.0
# Load processes on other machines are started by hand.
ELSEWHERE_WITHIN_S = 300.0
STALE_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of ``run``.

    Attributes:
        cell: experiment variant, target and budget.
        runtime: where to run it.
        seed: fixes the schedule of events.
        runs: the folder that gets the run's folder.
        narrator: is told of each step.
        root_seed: what the seed was derived from; None when from nothing.
        repeat: the number of the run among repeats of the same.
        watch: what watches the run as its owners would; None for nothing.
        shelf: keeps servers between this run and others; None for servers of its own.
    """

    cell: Cell
    runtime: Runtime
    seed: int
    runs: Path
    narrator: Narrator
    root_seed: int | None = None
    repeat: int = 0
    watch: Watch | None = None
    shelf: Shelf | None = None


def run(ask: Ask) -> Result:
    """Make one run and judge it.

    1. set up: servers, target and health probe; the target's queries are tried
    2. load: producers begin their open schedule, each event journalled
    3. fault: each is injected when its time or condition comes, and healed
    4. settle: after the load, wait until the queue is empty and no row arrives
    5. collect: rows, journals, probe samples and logs are saved as they are
    6. judge: from what was saved, by ``judge``

    Whatever happens on the way, faults are healed, everything started is stopped, and
    what there is by then is saved. When the instrument itself fails, the verdict is error.

    Raises:
        UsageError: the cell cannot be run as asked.
        InterruptedRunError: Ctrl-C or SIGTERM.
    """
    open_files.allow()
    story = _Story(ask, services_of(ask.cell))
    facts, folder = story.facts, story.folder
    begin = time.monotonic()
    try:
        story.tell()
    except KeyboardInterrupt:
        facts.interrupted, facts.problem = True, "interrupted before the run was over"
        raise InterruptedRunError(
            f"interrupted: faults healed, everything stopped; what there is lies in {folder}"
        ) from None
    except UsageError as error:
        facts.problem = str(error)
        raise
    except HarnessError as error:
        facts.problem = str(error)
    except Exception as error:  # noqa: BLE001 - a defect must not look like a verdict
        facts.problem = _defect(error, folder)
    finally:
        story.note_doubts()
        facts.timings_s["total"] = round(time.monotonic() - begin, 3)
        facts.save(folder)
        result = judge_run(folder, facts.timings_s)
        facts.save(folder)
        result.save(folder)
    return result


def _defect(error: Exception, folder: Path) -> str:
    """Keep the traceback for whoever mends the harness, and return one sentence."""
    path = folder / "traceback.txt"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return f"defect of the harness, {type(error).__name__}: {error}; see {path}"


@dataclass(slots=True)
class _Story:
    """One run's state, from phase to phase."""

    ask: Ask
    services: Mapping[str, Service]
    folder: Path = field(init=False)
    facts: Facts = field(init=False)
    site: RunningSite = field(init=False)
    probe: HealthProbe = field(init=False)
    auditor: Auditor = field(init=False)
    conductor: Conductor = field(init=False)
    tally: Tally = field(init=False)
    start_s: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder = _new_folder(self.ask.runs, f"{self.ask.cell.name}-{self.ask.seed}")
        self.facts = _facts(self.ask, self.folder.name)
        self.tally = Tally(self.folder)

    def tell(self) -> None:
        """Go through the phases; leaves nothing running and no fault unhealed."""
        with ExitStack() as stack:
            self.set_up(stack)
            try:
                self.load_and_faults()
                self.settle()
                self.conductor.heal_rest()
            except BaseException:
                # What is persisted now is all there will be; what cut the run short is
                # what matters, not that the database went away with it.
                with suppress(HarnessError):
                    self.conductor.heal_rest()
                    self.collect()
                raise
            self.collect()

    # 1. Set up.

    def set_up(self, stack: ExitStack) -> None:
        """Bring up servers, target and probe, and try the target's queries."""
        order = self._order()
        with self._timed("set_up"):
            self.site = stack.enter_context(self.ask.runtime.open(order))
            save_environment(
                self.folder, self.facts, self.ask.cell, self.site.versions, self.site.served
            )
            self.probe.watch(self.site.base_urls)
            stack.enter_context(self.probe)
            if isinstance(self.site, Startable) and self.ask.cell.target.attach is None:
                self.start_s = self.site.incarnation().ready_s
            self._watch(stack)
            self.auditor = _auditor(self.ask.cell, self.site, self.folder / SHARED)
            self.conductor = Conductor(
                self.site,
                self.probe,
                self.facts,
                self.ask.narrator,
                target=self.ask.cell.target,
                counters=self._counters(stack),
            )
            stack.callback(self.conductor.heal_rest)
            columns = self.auditor.check()
            self.auditor.check_empty()
        self.facts.hashes_measured = columns.payload_hash
        self.facts.positions_measured = columns.position
        self.facts.times_measured = columns.persisted_at

    def _watch(self, stack: ExitStack) -> None:
        """Have the run watched, where that was asked; what fired is saved at its end."""
        path = self.ask.cell.target.http.metrics
        if self.ask.watch is None or path is None:
            return
        at = addresses(self.site.base_urls)
        watch = self.ask.watch
        stack.enter_context(Monitor(watch, self.folder, at, path, self.site.helper))
        self.ask.narrator.say(f"{watch.binaries.version} watches, {watch.interval} between looks")

    def _counters(self, stack: ExitStack) -> Counters:
        """Return what a fault's condition may read besides the target's own word."""
        rows, told = self.auditor.counter(), Tally(self.folder)
        stack.callback(rows.close)

        def refused() -> int:
            told.look()
            return told.refused

        return {"persisted": rows, "refused": refused}

    def note_doubts(self) -> None:
        """Note what would make every time of the run doubtful."""
        if hasattr(self, "probe"):
            self.facts.clock_jump_s = self.probe.clock.jump_ns / 1e9
            self.facts.probe_gap_s = round(self.probe.gap_s, 3)

    def _order(self) -> Order:
        target = self.ask.cell.target
        return Order(
            run_id=self.facts.run_id,
            folder=self.folder,
            target=target,
            services=[self.services[name] for name in target.services],
            servers=self.ask.cell.servers(),
            disks=disks_of(self.ask.cell),
            instances=self.ask.cell.variant.instances,
            **_graces(self.ask.cell.variant),
            load_pods=load.processes if (load := self.ask.cell.variant.load).pods else 0,
            proxy=self.services.get(PROXY),
            proxy_control=_proxies,
            settings=self.ask.cell.environment(),
            # What kills a server meets one that has not served another run.
            shelf=None if strikes_servers(self.ask.cell) else self.ask.shelf,
            probe=self._new_probe,
            say=self.ask.narrator.say,
        )

    def _new_probe(self, base_url: str) -> HealthProbe:
        self.probe = HealthProbe(base_url, self.ask.cell.target.http, self.folder / "probe.jsonl")
        return self.probe

    # 2. and 3. Load and faults.

    def load_and_faults(self) -> None:
        """Run the load to its end and each fault at its moment."""
        for planned in self._planned("before"):
            self.conductor.inject(planned)
        load = self._start_load()
        try:
            with self._timed("load"):
                began = self._load_began(load)
                for planned in self._planned("during"):
                    self.conductor.carry_out(planned, began, lambda: self._loading(load, began))
                while self._loading(load, began):
                    time.sleep(LOOK_EVERY_S)
                self.facts.load_exit_code = load.poll()
        finally:
            load.kill()

    def check(self) -> None:
        """Raise when something that no fault touched has ended: a server, or the probe."""
        self.site.check()
        self.probe.check()

    def _planned(self, moment: str) -> list[PlannedFault]:
        faults = self.ask.cell.variant.faults
        return [planned for planned in faults if planned.trigger.load == moment]

    def _start_load(self) -> HelperProcess:
        load = self.ask.cell.variant.load
        http = self.ask.cell.target.http
        address = urlsplit(self.site.base_url)
        host = address.hostname or "127.0.0.1"
        if load.listen:
            host = Address.parse(load.listen).host
            self.ask.narrator.say(
                f"waiting for {load.processes} load processes: start `harness load-worker "
                f"{load.listen}` where the load is to come from"
            )
        port, listen, several = address.port or 80, load.listen, self.ask.cell.variant.instances > 1
        if load.pods:
            master, reached = self._place_of_pods()
            host, port = reached.host, reached.port
            # The cluster itself chooses among the instances.
            listen, several = str(master), False
        plan = LoadPlan(
            host=host,
            port=port,
            path=http.events,
            body=http.body,
            accepted=list(http.accepted),
            refused=list(http.refused),
            timeout_s=http.timeout_s,
            phases=[(phase.rate_per_s, phase.duration_s) for phase in load.phases],
            producers=load.producers,
            payload_bytes=load.payload_bytes,
            max_in_flight=load.max_in_flight,
            processes=load.processes,
            listen=listen,
            seed=self.ask.seed,
            folder=str(self.folder),
            in_service=str(in_service(self.folder)) if several else "",
        )
        command = load_command(plan, self._load_limit_s())
        helper = self.site.helper("load", command.argv, command.environment)
        if load.pods and isinstance(self.site, LoadInPods):
            worker = pod_command(Address.parse(listen), IN_POD)
            self.site.start_load_pods(worker.argv, worker.environment, str(IN_POD))
        return helper

    def _place_of_pods(self) -> tuple[Address, Address]:
        if not isinstance(self.site, LoadInPods):
            raise UsageError(
                f"runtime {self.ask.runtime.name} runs no pods for the load; leave out --load-pods"
            )
        return self.site.load_place()

    def _load_limit_s(self) -> float:
        """Return a bound on the load's process, for when the target never answers."""
        cell = self.ask.cell
        timeouts_s = 2 * cell.target.http.timeout_s
        return cell.variant.load.duration_s + timeouts_s + self._load_start_within_s()

    def _load_start_within_s(self) -> float:
        load = self.ask.cell.variant.load
        return ELSEWHERE_WITHIN_S if load.listen or load.pods else LOAD_START_WITHIN_S

    def _load_began(self, load: HelperProcess) -> float:
        """Wait for the first event and return the monotonic time of it."""
        within_s = self._load_start_within_s()
        deadline = time.monotonic() + within_s
        while events_sent(self.folder) == 0:
            if load.poll() is not None:
                raise LoadError(
                    f"the load ended with exit code {load.poll()} before its first event; "
                    f"its log is {self.folder / 'logs' / 'load.log'}"
                )
            if time.monotonic() > deadline:
                raise LoadError(f"the load sent nothing within {within_s:g} s")
            time.sleep(0.005)
        return time.monotonic()

    def _loading(self, load: HelperProcess, began: float) -> bool:
        """Return whether the load still runs; check the servers and tell how far it is."""
        self.check()
        if load.poll() is not None:
            return False
        elapsed_s = time.monotonic() - began
        limit_s = self._load_limit_s() + LOAD_START_WITHIN_S
        if elapsed_s > limit_s:
            raise LoadError(f"the load did not end within {limit_s:g} s")
        self.ask.narrator.progress(self._load_progress(elapsed_s))
        return True

    def _load_progress(self, elapsed_s: float) -> Progress:
        planned, sample = self.ask.cell.variant.load, self.probe.last()
        self.tally.look()
        return Progress(
            phase="load",
            done=min(1.0, elapsed_s / planned.duration_s),
            left_s=max(0.0, planned.duration_s - elapsed_s),
            rate_asked_per_s=planned.rate_at(elapsed_s),
            rate_kept_per_s=self.tally.rate_per_s,
            sent=self.tally.sent,
            planned=planned.events,
            acked=self.tally.acked,
            refused=self.tally.refused,
            queue_length=sample.queue_length if sample else None,
            answers=sample is not None and sample.ok,
        )

    # 4. Settle.

    def settle(self) -> None:
        """Wait until the target is empty and what it persists no longer changes."""
        begin = time.monotonic()

        def look() -> None:
            self.check()
            self.ask.narrator.progress(self._settle_progress(time.monotonic() - begin))

        with self._timed("settle"):
            settled, how = self.auditor.settle(self._drained, look)
        self.facts.settled, self.facts.settled_how = settled, how
        self.ask.narrator.say(f"{'settled' if settled else 'not settled'}: {how}")

    def _settle_progress(self, elapsed_s: float) -> Progress:
        sample = self.probe.last()
        self.tally.look()
        return Progress(
            phase="settle",
            left_s=max(0.0, self.ask.cell.target.persisted.settle_limit_s - elapsed_s),
            acked=self.tally.acked,
            refused=self.tally.refused,
            queue_length=sample.queue_length if sample else None,
            answers=sample is not None and sample.ok,
        )

    def _drained(self) -> bool | None:
        """Return whether the target says that it holds nothing; None when it cannot say."""
        if self.ask.cell.target.http.state is None:
            return None
        sample = self.probe.last()
        if sample is None or not sample.ok or time.time_ns() - sample.answered_ns > STALE_NS:
            return False
        if sample.queue_length is None:
            return False
        if sample.in_flight is None:
            return None if sample.queue_length == 0 else False
        return sample.queue_length == 0 and sample.in_flight == 0

    # 5. Collect.

    def collect(self) -> None:
        """Save what was persisted, as read, before anything is concluded from it."""
        with self._timed("collect"):
            # Marks first: where a target still works, as after an interrupt, what is marked
            # as persisted by then is among the rows.
            save_marks(self.folder)
            self.auditor.save(self.folder)
        self.facts.collected = True
        self.facts.predicted = self.ask.cell.experiment.predict(self._observed())

    def _observed(self) -> Observed:
        # Of several faults the earlier ones set the scene for the last.
        injected = [r for r in self.facts.faults if r.injected_ns is not None]
        record = injected[-1] if injected else None
        cell = self.ask.cell
        return Observed(
            load=cell.variant.load,
            settings=cell.numbers(),
            queue_survives_crash=cell.target.behaviour.queue_survives_crash,
            in_hand_survives_crash=cell.target.behaviour.in_hand_survives_crash,
            queue_length=record.queue_length if record else None,
            in_flight=record.in_flight if record else None,
            blind_s=record.blind_s if record else 0.0,
            choices=cell.choices(),
            services=cell.target.services,
            start_s=self.start_s,
            restart_s=self.ask.runtime.restart_s,
            held_s=record.held_s if record else None,
            struck=record.struck if record else False,
            parameters=_numbers(cell.variant),
        )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.facts.timings_s[phase] = round(time.monotonic() - begin, 3)


def _numbers(variant: Variant) -> dict[str, float]:
    """Return the numbers among the parameters of a variant's last fault."""
    parameters = variant.faults[-1].parameters if variant.faults else {}
    return {name: float(v) for name, v in parameters.items() if not isinstance(v, str)}


class _Graces(TypedDict, total=False):
    grace_s: float
    pre_stop_s: float


def _graces(variant: Variant) -> _Graces:
    """Return the longest grace and preStop that a fault of the variant asks the runtime for."""
    told = [_grace(fault) for fault in variant.faults if "grace_s" in fault.parameters]
    if not told:
        return {}
    grace_s, pre_stop_s = max(told)
    return {"grace_s": grace_s, "pre_stop_s": pre_stop_s}


def _grace(fault: PlannedFault) -> tuple[float, float]:
    grace_s, pre_stop_s = (float(fault.parameters.get(n, 0)) for n in ("grace_s", "pre_stop_s"))
    # This fault waits for its preStop itself; a pod that did so too would do it twice.
    return (grace_s - pre_stop_s, 0.0) if fault.fault == STOP else (grace_s, pre_stop_s)


def _proxies(control: Address) -> Proxies:
    return Proxies(control)


def _new_folder(runs: Path, name: str) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    while True:
        folder = runs / f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{name}"
        try:
            folder.mkdir()
        except FileExistsError:
            # Two runs of one experiment within a second: the next second's name is free.
            time.sleep(0.1)
        else:
            return folder.resolve()


def _facts(ask: Ask, run_id: str) -> Facts:
    cell, load = ask.cell, ask.cell.variant.load
    return Facts(
        run_id=run_id,
        experiment=cell.name,
        hypothesis=cell.experiment.hypothesis,
        target=cell.target.name,
        ack_level=cell.target.ack_level,
        runtime=ask.runtime.name,
        seed=ask.seed,
        root_seed=ask.seed if ask.root_seed is None else ask.root_seed,
        repeat=ask.repeat,
        stages_marked=cell.target.stages,
        events_planned=load.events,
        rate_per_s=load.events / load.duration_s,
        exact=cell.experiment.exact,
        budget=cell.budget,
    )


def _auditor(cell: Cell, site: RunningSite, shared: Path) -> Auditor:
    persisted = cell.target.persisted
    url = persisted.database
    if persisted.database in site.endpoints:
        url = site.endpoints[persisted.database].direct["url"]
    return Auditor(url, persisted, _longest_s(cell.numbers()), shared)


def _longest_s(numbers: Mapping[str, float]) -> float:
    """Return how long the target may work on one event before a row comes."""
    parts = ("handler_time_s", "query_s", "external_s", "logic_s")
    return sum(numbers.get(part, 0.0) for part in parts)
