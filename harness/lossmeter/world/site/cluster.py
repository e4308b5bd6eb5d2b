"""What may be done to a target that an orchestrator runs as pods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lossmeter.world.site.seen import Event, Incarnation, Rolled, Stopped
from lossmeter.world.site.target import Startable


@runtime_checkable
class PodRemovable(Startable, Protocol):
    """A pod of the target can be taken away; what runs it puts another in its place."""

    def delete_pod(self, grace_s: float) -> Rolled:
        """Delete a pod with another grace than its own, and see the next one serve."""

    def evict_pod(self) -> Rolled:
        """Evict a pod, which budgets of disruption may forbid, and see the next one serve.

        Raises:
            FaultError: it was forbidden.
        """


@runtime_checkable
class Drainable(Startable, Protocol):
    """The node that the target runs on can be emptied, as for its maintenance."""

    def drain_node(self) -> Sequence[Stopped]:
        """Let nothing new onto it, and evict the target's pods; return how they ended."""

    def node_open(self) -> bool:
        """Return whether the node takes new pods, as the cluster says."""

    def open_node(self) -> Incarnation:
        """Let pods onto it again, and see the target serve."""


@runtime_checkable
class Scalable(Startable, Protocol):
    """The number of the target's instances can be changed."""

    def scale(self, instances: int) -> Sequence[Stopped]:
        """Ask for another number; return how those ended that were too many."""

    def instances(self) -> int:
        """Return how many serve now, as the cluster says."""


@runtime_checkable
class Orchestrated(Protocol):
    """An orchestrator runs the target's pods, and writes down what becomes of them."""

    def account(self, since_ns: int) -> Sequence[Event]:
        """Return what it wrote down of the target since then, oldest first.

        Actions are ``create``, ``start``, ``delete`` (the wish), ``oom``, ``die`` with
        ``exitCode``, ``destroy``, ``disrupt`` and ``event`` with the reason that it gives.

        Raises:
            EvidenceError: the account has a gap, so nothing may be concluded from it.
        """
