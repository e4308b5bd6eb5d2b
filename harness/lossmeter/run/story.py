"""One run as a story."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lossmeter.errors import HarnessError, InterruptedRunError, UsageError, redacted, traceback_of
from lossmeter.experiment import Observed
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.record.files import write_text
from lossmeter.record.journals import acked_between
from lossmeter.record.marks import FOLDER as SHARED
from lossmeter.record.marks import save_marks
from lossmeter.record.result import Result
from lossmeter.record.tally import Tally
from lossmeter.run import open_files
from lossmeter.run.conclusion import conclude, keep_room, no_room, no_room_beside
from lossmeter.run.conduct import LOOK_EVERY_S, Conductor, Counters
from lossmeter.run.disturbance import ProxyWatch, ServersWatch, servers_watch
from lossmeter.run.environment import save_environment
from lossmeter.run.ingress import Ingress, ingress_of
from lossmeter.run.load_phase import LoadPhase
from lossmeter.run.monitor.watch import Monitor, addresses
from lossmeter.run.narrator import Progress
from lossmeter.run.outside import Outside, outside_of
from lossmeter.run.probe import HealthProbe
from lossmeter.run.set_up import Ask, auditor_of, facts_of, longest_s, new_folder, order_of
from lossmeter.run.unread import SILENT_S, Unread, why_unread
from lossmeter.world.auditor import Auditor, blind_s
from lossmeter.world.interrupts import WholeStack, held_back
from lossmeter.world.runtime import RunningSite
from lossmeter.world.site import Startable

__all__ = ["Ask", "run"]

STALE_NS = 2_000_000_000


def run(ask: Ask) -> Result:
    """Make one run and judge it.

    1. set up: servers, target and health probe; the target's queries are tried
    2. load: producers begin their open schedule, each event journalled
    3. faults: meanwhile each is injected when its time or condition comes, and healed
    4. settle: after the load, wait until the queue is empty and no row arrives
    5. collect: rows, journals, probe samples and logs are saved as they are
    6. judge: from what was saved, by ``judge``

    Whatever happens on the way, faults are healed, everything started is stopped, and
    what there is by then is saved. When the instrument itself fails, or something of the
    target's that shows only while it runs, the verdict is error.

    Raises:
        UsageError: the cell cannot be set up as asked.
        HarnessError: the disk has no room for the run's folder.
        InterruptedRunError: Ctrl-C or SIGTERM.
    """
    open_files.allow()
    try:
        story = _Story(ask)
    except OSError as error:
        if full := no_room(error, ask.runs):
            raise HarnessError(full) from None
        raise
    facts, folder = story.facts, story.folder
    begin, show = time.monotonic(), ask.show
    try:
        story.tell()
    except KeyboardInterrupt:
        show = None
        facts.interrupted, facts.problem = True, "interrupted before the run was over"
        raise InterruptedRunError(
            f"interrupted: faults healed, everything stopped; what there is lies in {folder}"
        ) from None
    except HarnessError as error:
        facts.problem = no_room(error, folder) or no_room_beside(error, folder) or str(error)
        if isinstance(error, UsageError) and not story.is_set_up:
            show = None
            raise
    except Exception as error:  # noqa: BLE001 - a defect must not look like a verdict
        facts.problem = _defect(error, folder)
    finally:
        story.note_doubts()
        facts.timings_s["total"] = round(time.monotonic() - begin, 3)
        result = conclude(folder, facts, show)
    return result


def _defect(error: Exception, folder: Path) -> str:
    """Keep the traceback for those who mend the harness, and return one sentence."""
    if full := no_room(error, folder):
        return full
    path = folder / "traceback.txt"
    with suppress(OSError):
        write_text(path, traceback_of(error))
    return redacted(f"defect of the harness, {type(error).__name__}: {error}; see {path}")


@dataclass(slots=True)
class _Story:
    """One run's state, from phase to phase."""

    ask: Ask
    folder: Path = field(init=False)
    facts: Facts = field(init=False)
    site: RunningSite = field(init=False)
    probe: HealthProbe = field(init=False)
    auditor: Auditor = field(init=False)
    conductor: Conductor = field(init=False)
    tally: Tally = field(init=False)
    proxies: ProxyWatch = field(init=False)
    servers: ServersWatch | None = field(init=False, default=None)
    ingress: Ingress | None = field(init=False, default=None)
    outside: Outside = field(init=False, default_factory=Outside)
    start_s: float | None = field(init=False, default=None)
    first_ns: int | None = field(init=False, default=None)
    is_set_up: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.folder = new_folder(self.ask)
        keep_room(self.folder)
        self.facts = facts_of(self.ask, self.folder.name)
        self.tally = Tally(self.folder)

    def tell(self) -> None:
        """Go through the phases; leaves nothing running and no fault unhealed."""
        with WholeStack() as stack:
            self.set_up(stack)
            self.is_set_up = True
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
        cell = self.ask.cell
        order = order_of(self.ask, self.folder, self._new_probe)
        with self._timed("set_up"):
            self.site = stack.enter_context(self.ask.runtime.open(order))
            save_environment(self.folder, self.facts, cell, self.site.versions, self.site.served)
            self.proxies = ProxyWatch(self.site, self.facts)
            self.probe.check_readable(self.site.base_urls, cell.target.name)
            self.probe.watch(self.site.base_urls)
            stack.enter_context(self.probe)
            if isinstance(self.site, Startable) and cell.target.attach is None:
                self.start_s = self.site.incarnation().ready_s
            self._watch(stack)
            self.ingress = ingress_of(cell.target, self.site.endpoints, self.folder)
            self.outside = outside_of(cell, self.site, stack)
            if self.outside.queue is not None:
                self.probe.queue_length = self.outside.queue.last
            broker = self.outside.broker
            self.auditor = auditor_of(cell, self.site, self.folder / SHARED, broker)
            self.conductor = Conductor(
                *(self.site, self.probe, self.facts, self.ask.narrator, cell.variant.faults),
                target=cell.target,
                counters=self._counters(stack),
            )
            stack.callback(self.conductor.heal_rest)
            columns = self.auditor.check()
            self.auditor.check_empty()
            self.servers = servers_watch(
                cell, self.facts, self.auditor, self.outside.queue, self.ingress
            )
        self.facts.hashes_measured = columns.payload_hash
        self.facts.positions_measured = columns.position
        self.facts.times_measured = columns.persisted_at

    def _new_probe(self, base_url: str) -> HealthProbe:
        self.probe = HealthProbe(base_url, self.ask.cell.target.http, self.folder / "probe.jsonl")
        return self.probe

    def _watch(self, stack: ExitStack) -> None:
        """Have the run watched, where that was asked; what fired is saved at its end."""
        http = self.ask.cell.target.http
        if self.ask.watch is None or http.metrics is None:
            return
        path = http.path(http.metrics)
        at = addresses(self.site.base_urls)
        watch = self.ask.watch
        stack.enter_context(Monitor(watch, self.folder, at, path, self.site.helper))
        self.ask.narrator.say(f"{watch.binaries.version} watches, {watch.interval} between looks")

    def _counters(self, stack: ExitStack) -> Counters:
        """Return what a fault's condition may read besides what the target reports."""
        rows, tally = self.auditor.counter(), Tally(self.folder)
        stack.callback(rows.close)

        def refused() -> int:
            tally.look()
            return tally.refused

        return {"persisted": rows, "refused": refused}

    # 2. and 3. Load and faults.

    def load_and_faults(self) -> None:
        """Run the load to its end, and each fault at its moment beside it."""
        ask, conductor = self.ask, self.conductor
        conductor.inject_before_load()
        load = LoadPhase(
            *(ask.cell, ask.seed, self.folder, self.site, self.probe, ask.narrator, self.tally),
            ingress=self.ingress,
        )
        try:
            with self._timed("load"):
                load.start()
                self.first_ns = time.time_ns() - round((time.monotonic() - load.began) * 1e9)
                conductor.begin(load.began)
                while self._goes_on(load.running, load):
                    time.sleep(LOOK_EVERY_S)
                conductor.load_is_over()
                while self._goes_on(conductor.busy, load):
                    time.sleep(LOOK_EVERY_S)
                self.facts.load_exit_code, self.facts.cpus = load.exit_code(), load.cpus()
        finally:
            with held_back():
                load.end()

    def _goes_on(self, running: Callable[[], bool], load: LoadPhase) -> bool:
        """Return whether something still runs; check all else, and report how far it is."""
        self.check()
        self.conductor.busy()
        goes_on = running()
        if goes_on:
            self.ask.narrator.progress(load.progress(self.conductor.now()))
        return goes_on

    def check(self) -> None:
        """Raise when something that no fault touched has ended: a server, or the probe."""
        if not self.conductor.moving():
            self.site.check()
        self.probe.check()
        self.proxies.look()

    # 4. Settle.

    def settle(self) -> None:
        """Wait until the target is empty and what it persists no longer changes."""
        begin = time.monotonic()

        def look() -> None:
            self.check()
            self.ask.narrator.progress(self._settle_progress(time.monotonic() - begin))

        with self._timed("settle"):
            settled, how = self.auditor.settle(self._drained, look, self._in_vain())
        unread = None if settled else why_unread(self.ask.cell, self.probe, self.outside)
        if unread is not None and unread.why not in how:
            how += f"; {unread.why}"
        self.proxies.look_at_last()
        self.facts.settled, self.facts.settled_how = settled, how
        self.ask.narrator.say(f"{'settled' if settled else 'not settled'}: {how}")

    def _in_vain(self) -> Unread:
        """Return what says why nobody will learn any more what the target holds."""
        cell = self.ask.cell
        return Unread(
            lambda: why_unread(cell, self.probe, self.outside),
            self.conductor.striking,
            max(SILENT_S, blind_s(longest_s(cell.numbers()))),
        )

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
            faults=self.conductor.now(),
        )

    def _drained(self) -> bool | None:
        """Return whether the target reports that it holds nothing; None when it cannot say.

        Until its broker has had the time to give again what was in hand, it may hold some. A
        queue that was never seen to hold any may be another one.
        """
        if self._may_be_given_again():
            return False
        if not self.ask.cell.target.reports_queue:
            return None
        sample = self.probe.last()
        if sample is None or not sample.ok or time.time_ns() - sample.answered_ns > STALE_NS:
            return False
        if sample.queue_length is None:
            return False
        if sample.in_flight is None or self.outside.never_held_any:
            return None if sample.queue_length == 0 else False
        return sample.queue_length == 0 and sample.in_flight == 0

    def _may_be_given_again(self) -> bool:
        """Return whether what was in hand at a fault may still be given to somebody else.

        Where the broker says what it holds, that is known better; one that was never seen to
        hold any may be asked for something else.
        """
        after_s = self.facts.redelivered_after_s
        if after_s is None or self.outside.seen().some:
            return False
        return time.time_ns() < max(self.facts.struck_ns, default=0) + round(after_s * 1e9)

    # 5. Collect.

    def collect(self) -> None:
        """Save what was persisted, as read, before anything is concluded from it."""
        with self._timed("collect"):
            # Marks first: where a target still works, as after an interrupt, what is marked
            # as persisted by then is among the rows.
            save_marks(self.folder)
            self.auditor.save(self.folder)
        if self.servers is not None:
            self.servers.look_at_last()
        self.facts.collected, self.facts.collected_ns = True, time.time_ns()
        workers = self.ask.cell.numbers().get("workers")
        for doubt in self.outside.note(self.facts, self.folder, workers):
            self.ask.narrator.say(doubt)
        self.facts.predicted = self.ask.cell.experiment.predict(self._observed())

    def _observed(self) -> Observed:
        # Of several faults the earlier ones set the scene for the last.
        last, cell = self.conductor.last(), self.ask.cell
        faults = cell.variant.faults
        planned, record = last or (faults[-1] if faults else None, None)
        parameters = planned.parameters if planned else {}
        return Observed(
            load=cell.variant.load,
            settings=cell.numbers(),
            queue_survives_crash=cell.target.behaviour.queue_survives_crash,
            in_hand_survives_crash=cell.target.behaviour.in_hand_survives_crash,
            queue_length=record.queue_length if record else None,
            in_flight=record.in_flight if record else None,
            blind_s=record.blind_s if record else 0.0,
            acked_unseen=self._acked_unseen(record),
            choices=cell.choices(),
            services=cell.target.services,
            start_s=self.start_s,
            restart_s=self.ask.runtime.restart_s,
            held_s=record.held_s if record else None,
            struck=record.struck if record else False,
            parameters={n: float(v) for n, v in parameters.items() if not isinstance(v, str)},
            fault=planned.fault if planned else "",
            at_s=planned.trigger.at_s if planned else 0.0,
            hold_s=planned.hold_s if planned else None,
            struck_s=None if record is None else self._since_first(record.hit_ns),
            instances=cell.variant.instances,
        )

    def _acked_unseen(self, record: FaultRecord | None) -> int:
        if record is None or record.looked_ns is None or record.hit_ns is None:
            return 0
        # A fault begins by looking at what it is to strike, and that acks meanwhile.
        until_ns = max(record.hit_ns, record.gone_ns or 0)
        return acked_between(self.folder, record.looked_ns, until_ns)

    def _since_first(self, at_ns: int | None) -> float | None:
        """Return the seconds between the first event and an instant of the wall clock."""
        if at_ns is None or self.first_ns is None:
            return None
        return (at_ns - self.first_ns) / 1e9

    def note_doubts(self) -> None:
        """Note what would make every time of the run doubtful."""
        if hasattr(self, "probe"):
            self.facts.clock_jump_s = self.probe.clock.jump_ns / 1e9
            self.facts.probe_gap_s = round(self.probe.gap_s, 3)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.facts.timings_s[phase] = round(time.monotonic() - begin, 3)
