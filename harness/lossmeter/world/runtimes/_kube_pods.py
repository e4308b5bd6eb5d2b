"""The pods of a run as the API tells of them, kept up to date while they change.

A watch hears each change once. Where it broke, something may be missing for ever, so the
break is remembered: what the record does not show may have happened all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from lossmeter.errors import EvidenceError
from lossmeter.world.runtimes._kube_access import core
from lossmeter.world.runtimes._kube_manifests import CONTAINER, PART_LABEL
from lossmeter.world.runtimes._kube_watch import RAW, PodWatch
from lossmeter.world.site import Event

# A container that waits for one of these waits for ever.
HOPELESS = {
    *("ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"),
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
}


@dataclass(frozen=True, slots=True)
class PodContainer:
    """One lifetime of a pod's container, as its status tells.

    Attributes:
        pod: name of the pod; in a StatefulSet the one in its place has it again.
        uid: of the pod, which no other has.
        part: the part of the run that it belongs to.
        id: of the container; there is another for each lifetime.
        restarts: how many lifetimes came before it in this pod.
    """

    pod: str
    uid: str
    part: str
    id: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Terminated:
    """How a container's lifetime ended, as the kubelet wrote it down.

    Attributes:
        code: exit code.
        reason: e.g. ``Completed``, ``Error``, ``OOMKilled``.
        finished_ns: to the second, nanoseconds.
        heard_ns: when the watch told it.
        uid: of its pod.
    """

    code: int
    reason: str
    finished_ns: int
    heard_ns: int
    uid: str


class Pods:
    """Watches the pods of one namespace from its construction until ``close``.

    Args:
        namespace: that of the run.
        changed: called after each change, from the watching thread.
    """

    def __init__(self, namespace: str, changed: Callable[[], None]) -> None:
        self._namespace = namespace
        self._changed = changed
        self._pods: dict[str, RAW] = {}
        self._ended: dict[str, Terminated] = {}
        self._started: dict[str, int] = {}
        self._deleted_ns: dict[str, int] = {}
        self._disrupted: set[str] = set()
        self._killing_ns: dict[str, int] = {}
        self._events: list[tuple[str, Event]] = []
        self._news = threading.Condition()
        self._closing = False
        self._broken = ""
        self._heard_events: set[str] = set()
        api = core()
        self._watches = [
            PodWatch(partial(api.list_namespaced_pod, namespace), self._hear, self._break),
            PodWatch(
                partial(core().list_namespaced_event, namespace), self._hear_event, self._break
            ),
        ]

    def close(self) -> None:
        """Stop watching."""
        self._closing = True
        for watch in self._watches:
            watch.close()

    def _break(self, why: str) -> None:
        with self._news:
            if not self._closing:
                self._broken = why
            self._news.notify_all()

    def _hear(self, kind: str, pod: RAW) -> None:
        now = time.time_ns()
        uid = str(pod["metadata"]["uid"])
        with self._news:
            if kind == "DELETED":
                self._pods.pop(uid, None)
                self._note(pod, now, "destroy")
            else:
                if uid not in self._pods:
                    self._note(pod, now, "create")
                self._pods[uid] = pod
            if pod["metadata"].get("deletionTimestamp") and uid not in self._deleted_ns:
                self._deleted_ns[uid] = now
                self._note(pod, now, "delete")
            self._read(pod, now)
            self._news.notify_all()
        self._changed()

    def _read(self, pod: RAW, now: int) -> None:
        for condition in (pod.get("status") or {}).get("conditions") or []:
            uid = str(pod["metadata"]["uid"])
            if condition["type"] == "DisruptionTarget" and uid not in self._disrupted:
                self._disrupted.add(uid)
                self._note(pod, now, "disrupt", reason=str(condition.get("reason", "")))
        for status in _statuses(pod):
            for state in (status.get("lastState") or {}, status.get("state") or {}):
                over = state.get("terminated")
                if over and _bare(over.get("containerID")):
                    self._end(pod, over, now)
            running = (status.get("state") or {}).get("running")
            lifetime = _bare(status.get("containerID"))
            if running and lifetime and lifetime not in self._started:
                self._started[lifetime] = now
                self._note(pod, now, "start")

    def _end(self, pod: RAW, over: RAW, now: int) -> None:
        lifetime = _bare(over["containerID"])
        if lifetime in self._ended:
            return
        reason = str(over.get("reason", ""))
        self._ended[lifetime] = Terminated(
            int(over["exitCode"]),
            reason,
            wall_ns(over.get("finishedAt")),
            now,
            str(pod["metadata"]["uid"]),
        )
        if reason == "OOMKilled":
            self._note(pod, now, "oom")
        self._note(pod, now, "die", exitCode=str(over["exitCode"]), reason=reason)

    def _hear_event(self, kind: str, event: RAW) -> None:
        """Note what the cluster says of a pod in its own words, once each time it says so."""
        about = event.get("involvedObject") or {}
        reported = f"{event['metadata'].get('uid')} {event.get('count')}"
        with self._news:
            pod = self._pods.get(str(about.get("uid")))
            if kind == "DELETED" or pod is None or reported in self._heard_events:
                return
            self._heard_events.add(reported)
            now = time.time_ns()
            reason = str(event.get("reason", ""))
            if reason == "Killing":
                self._killing_ns[str(about["uid"])] = now
            self._note(pod, now, "event", reason=reason, message=str(event.get("message", "")))

    def _note(self, pod: RAW, now: int, action: str, **attributes: str) -> None:
        reported = {"pod": pod["metadata"]["name"], **attributes}
        self._events.append((part_of(pod), Event(now, action, reported)))

    # What others ask.

    def of(self, part: str) -> list[RAW]:
        """Return the pods of a part, the oldest first."""
        with self._news:
            found = [pod for pod in self._pods.values() if part_of(pod) == part]
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def running(self, part: str, *, ready: bool = False) -> list[PodContainer]:
        """Return the containers of a part that run in pods that are to stay, oldest first.

        ``ready``: only of pods that are.
        """
        return [
            container_of(pod, status)
            for pod in self.of(part)
            if not pod["metadata"].get("deletionTimestamp") and (is_ready(pod) or not ready)
            for status in _statuses(pod)
            if (status.get("state") or {}).get("running")
        ]

    def started_ns(self, lifetime: str) -> int:
        """Return when it was heard that a lifetime runs; 0 when it never was."""
        with self._news:
            return self._started.get(lifetime, 0)

    def ended(self, lifetime: str) -> Terminated | None:
        """Return how a lifetime ended; None while it is not known."""
        with self._news:
            return self._ended.get(lifetime)

    def ends_of(self, part: str) -> dict[str, Terminated]:
        """Return all ends in the present pods of a part, by container."""
        return {
            known: self._ended[known]
            for pod in self.of(part)
            for status in _statuses(pod)
            for state in (status.get("lastState") or {}, status.get("state") or {})
            if (known := _bare((state.get("terminated") or {}).get("containerID"))) in self._ended
        }

    def why_not_up(
        self,
        part: str,
        ready: Callable[[], bool],
        within_s: float,
        counts: Callable[[Terminated], bool] = lambda _: True,
        known: Collection[str] = (),
    ) -> str | None:
        """Wait until pods of a part are up; return None, or why they are not.

        Args:
            part: of the run.
            ready: returns whether they are up.
            within_s: seconds.
            counts: whether the end of one of its containers means that they will not be.
            known: containers whose end does not, whenever it is reported.
        """
        known = {*known, *self.ends_of(part)}

        def ended() -> list[Terminated]:
            ends = self.ends_of(part)
            return [end for lifetime, end in ends.items() if lifetime not in known and counts(end)]

        in_time = self.wait_for(lambda: bool(self.hopeless(part) or ended()) or ready(), within_s)
        if why := self.hopeless(part):
            return f"cannot be started: {why}"
        if ends := ended():
            return f"ended with exit code {ends[-1].code} while starting"
        if not in_time:
            return f"was not ready within {within_s:g} s ({self.waiting_for(part)})"
        return None

    def deleted_ns(self, uid: str) -> int | None:
        """Return when the wish to delete a pod was heard of."""
        with self._news:
            return self._deleted_ns.get(uid)

    def killing_ns(self, uid: str) -> int | None:
        """Return when the kubelet was last heard to end a container: before its preStop."""
        with self._news:
            return self._killing_ns.get(uid)

    def hopeless(self, part: str) -> str | None:
        """Return why a pod of a part will never start, or None."""
        for pod in self.of(part):
            for status in _statuses(pod):
                waiting = (status.get("state") or {}).get("waiting") or {}
                if waiting.get("reason") in HOPELESS:
                    return f"{waiting['reason']}: {waiting.get('message', '')}".strip(": ")
        return None

    def waiting_for(self, part: str) -> str:
        """Return what the pods of a part say that they lack, for a message."""
        reported = [
            f"{condition.get('reason') or condition['type']}: {condition['message']}"
            for pod in self.of(part)
            for condition in (pod.get("status") or {}).get("conditions") or []
            if condition.get("status") != "True" and condition.get("message")
        ]
        return "; ".join(reported[:2]) or "no pod says what it lacks"

    def events(self, parts: Collection[str], since_ns: int) -> list[Event]:
        """Return what happened to some parts since then, oldest first.

        Raises:
            EvidenceError: the watch broke, so something may be missing.
        """
        with self._news:
            if self._broken:
                raise EvidenceError(
                    f"the watch of pods broke ({self._broken}), so what it says has a gap"
                )
            return [e for who, e in self._events if who in parts and e.at_ns >= since_ns]

    def wait_for(self, wanted: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something holds, asked after each change and now and then; or time out."""
        deadline = time.monotonic() + timeout_s
        while not wanted():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            with self._news:
                self._news.wait(min(left_s, 0.05))
        return True


def part_of(pod: RAW) -> str:
    """Return the part of the run that a pod belongs to."""
    return str((pod["metadata"].get("labels") or {}).get(PART_LABEL, ""))


def container_of(pod: RAW, status: RAW) -> PodContainer:
    """Return the lifetime that a container's status speaks of."""
    return PodContainer(
        pod["metadata"]["name"],
        str(pod["metadata"]["uid"]),
        part_of(pod),
        _bare(status.get("containerID")),
        int(status.get("restartCount", 0)),
    )


def is_ready(pod: RAW) -> bool:
    """Return whether a pod serves and is to stay."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def address_of(pod: RAW) -> str:
    """Return the address of a pod; empty while it has none."""
    return str((pod.get("status") or {}).get("podIP") or "")


def wall_ns(text: str | None) -> int:
    """Return nanoseconds since the epoch of the API's time, e.g. ``2025-01-02T03:04:05Z``."""
    if not text:
        return 0
    return round(datetime.fromisoformat(text).timestamp() * 10**9)


def _statuses(pod: RAW) -> Sequence[RAW]:
    found = (pod.get("status") or {}).get("containerStatuses") or []
    return [status for status in found if status.get("name") == CONTAINER]


def _bare(container_id: str | None) -> str:
    """Return ``abc`` of ``containerd://abc``."""
    return (container_id or "").rpartition("//")[2]
