"""A folder with one short experiment and a target of one's own whose state is odd."""

from __future__ import annotations

from pathlib import Path

SOURCE = Path(__file__).with_name("odd_dispatcher.py")

EXPERIMENT = """
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

EXPERIMENT = Experiment(
    name="short",
    hypothesis="Nothing is lost.",
    variants=(Variant("", steady(50, LASTS_S), FAULTS),),
    targets=("channel",),
    predict=lambda seen: Predicted(lost=0, duplicated_max=0, basis="none"),
    bounds=BOUNDS,
)
"""

TARGET = """
name = "odd"
summary = "a dispatcher of one's own"
ack_level = "enqueued"
services = ["postgres"]
proxied = ["postgres"]

[start]
command = ["{python}", "SOURCE"]
[start.environment]
PORT = "{port}"
DSN = "{postgres.url}"
STATE = "KIND"

[http]
events = "/jobs"
health = "/state"
ready = "/ready"
state = "/state"
body = '{"ident": "$producer-$sequence", "body": "$payload"}'
accepted = [202]

[persisted]
query = '''
select split_part(ident, '-', 1)::bigint as producer,
       split_part(ident, '-', 2)::bigint as sequence,
       n as position, at as persisted_at,
       ('x' || left(md5(body), 16))::bit(64)::bigint as payload_hash
from jobs
'''
"""

NOTHING = """
LASTS_S, FAULTS, BOUNDS = 1.0, (), {"max_lost": 0, "max_duplicated": 0}
"""
# What is held is lost, and service must be back within the bound.
KILL = """
LASTS_S, FAULTS = 3.0, (PlannedFault("sigkill", Trigger(at_s=1.0)),)
BOUNDS = {"max_lost": 150, "max_duplicated": 1, "recovery_s_max": 30}
"""


def experiment(*, kill: bool = False, rate: float = 50, lasts_s: float | None = None) -> str:
    """Return the file of the experiment; it lasts a second, or three where it kills."""
    imports, _, rest = EXPERIMENT.partition("\nEXPERIMENT = ")
    if lasts_s is not None:
        rest = rest.replace("LASTS_S", str(lasts_s))
    rest = rest.replace("steady(50,", f"steady({rate},")
    return f"{imports}{KILL if kill else NOTHING}\nEXPERIMENT = {rest}"


def run_short(
    folder: Path, state: str = "", more: str = "", *, settings: str = "", kill: bool = False
) -> tuple[str, ...]:
    """Write both files and return the arguments that run one with the other.

    Args:
        folder: for the files.
        state: how the target answers of its state; empty: as is right.
        more: the end of the target's file.
        settings: lines of ``[start.environment]``.
        kill: the target is killed in mid-load, and its recovery bounded.
    """
    (folder / "short.py").write_text(experiment(kill=kill), encoding="utf-8")
    target = TARGET.replace("SOURCE", str(SOURCE)) + more
    target = target.replace('STATE = "KIND"', f'STATE = "{state}"\n{settings}')
    (folder / "odd.toml").write_text(target, encoding="utf-8")
    return (
        *("run", str(folder / "short.py"), "--target", str(folder / "odd.toml")),
        *("--runtime", "local", "--seed", "1"),
    )
