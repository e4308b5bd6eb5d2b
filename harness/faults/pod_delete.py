"""A pod of the target is deleted, and the cluster puts another in its place at once.

Parameters:
    grace_s: seconds between the wish and SIGKILL, 1 or more; the pod's own do not count.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import FaultError
from harness.faults._graces import MAX_GRACE_S
from harness.faults._lives import capable
from harness.faults._pods import Seen
from harness.model import Evidence
from harness.site import PodRemovable, Site

NAME = "pod-delete"


class PodDelete:
    """Deletes a pod: ``kubectl delete pod --grace-period``.

    Evidence: how the old process ended, the kernel's start time of the new one, the target's
    own name for its life, and what the cluster wrote down.
    """

    needs: tuple[type, ...] = (PodRemovable,)

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s

    def inject(self, site: Site) -> list[Evidence]:
        """Delete it, see it end and the next one serve."""
        seen = Seen.look(site)
        rolled = capable(site, PodRemovable, NAME).delete_pod(self._grace_s)
        code = rolled.stopped.exit.code
        return seen.replaced(
            site,
            [rolled],
            "one pod was to be deleted and ended, and another was created and started",
            {"delete", f"die {code}", "create", "start"},
        )

    def heal(self, site: Site) -> list[Evidence]:
        """Do nothing: the new one serves."""
        del site
        return []


def build(parameters: Mapping[str, str | int | float]) -> PodDelete:
    """Return the fault.

    Raises:
        FaultError: grace_s is missing or impossible, or something else was given.
    """
    value = parameters.get("grace_s")
    if set(parameters) != {"grace_s"} or isinstance(value, str) or value is None:
        raise FaultError("pod-delete takes grace_s, the seconds between the wish and SIGKILL")
    if not 1 <= value <= MAX_GRACE_S:
        raise FaultError(
            f"pod-delete: grace_s is {value!r}; right is 1 to {MAX_GRACE_S:g} seconds, since a "
            "kubelet takes 0 for 1"
        )
    return PodDelete(float(value))
