"""The receiver of webhooks refuses each tenth call."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

EVERY = 10


def predict(seen):
    return Predicted(lost=seen.load.events // EVERY, basis=f"each {EVERY}th call is refused")


EXPERIMENT = Experiment(
    name="refused-calls",
    hypothesis="A dispatcher that calls once loses exactly the calls that are refused.",
    variants=(
        Variant(
            "",
            steady(80, 5),
            (
                PlannedFault(
                    "webhook", Trigger(load="before"), None, {"answer": "refuse", "every": EVERY}
                ),
            ),
        ),
    ),
    targets=(),
    predict=predict,
)
