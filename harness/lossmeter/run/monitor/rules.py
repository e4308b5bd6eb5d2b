"""Alerting rules, and the same rules by a clock that runs faster.

A run lasts seconds and a rule waits for minutes. Where all durations are divided by one
factor, those of the scrapes too, a rule sees as many looks as it would see in earnest, and
each look stands for so much more time.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmeter.errors import UsageError
from lossmeter.record.files import read_bytes, why

# A label of the faster rules, by which they are given from the true ones.
CLOCK = "clock"
COMPRESSED = "compressed"

_UNITS_MS: Mapping[str, int] = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_UNIT = re.compile(r"(\d+)(ms|s|m|h|d|w|y)")
_DURATION = rf"(?:{_UNIT.pattern})+".replace("(\\d+)", "\\d+").replace("(ms|", "(?:ms|")
# Text in quotes is left alone; durations stand in brackets or behind ``offset``.
_IN_EXPRESSION = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)"""
    rf"|(?P<window>\[\s*{_DURATION}\s*(?::\s*(?:{_DURATION})?\s*)?\])"
    rf"|(?P<offset>\boffset\s+-?\s*{_DURATION})"
)
_IN_PART = re.compile(_DURATION)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alerting rule as its file says it; ``for_s`` in seconds."""

    name: str
    severity: str
    expression: str
    for_s: float


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of Prometheus'.

    Raises:
        UsageError: it is missing, or not YAML with keys on top.
    """
    import yaml  # noqa: PLC0415 - an extra brings it

    try:
        reported = yaml.safe_load(read_bytes(path).decode("utf-8"))
    except OSError as error:
        raise UsageError(f"--monitor needs {path}: {why(error)}") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(reported, dict):
        raise UsageError(f"{path} is not a file of Prometheus': it has no keys on top")
    return reported


def alert_rules(rules: Mapping[str, Any]) -> list[AlertRule]:
    """Return the alerting rules of a checked rule file, in its order."""
    return [
        AlertRule(
            name=str(rule["alert"]),
            severity=str(rule.get("labels", {}).get("severity", "")),
            expression=" ".join(str(rule["expr"]).split()),
            for_s=milliseconds(str(rule.get("for", "0s"))) / 1000,
        )
        for group in rules.get("groups", [])
        for rule in group.get("rules", [])
        if "alert" in rule
    ]


def compressed(rules: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the alerting rules by a clock that runs ``factor`` times as fast."""
    groups = copy.deepcopy(list(rules.get("groups", [])))
    for group in groups:
        group["name"] = f"{group['name']}-{COMPRESSED}"
        if "interval" in group:
            group["interval"] = shorter(str(group["interval"]), factor)
        group["rules"] = [_compressed(r, factor) for r in group.get("rules", []) if "alert" in r]
    return {"groups": groups}


def _compressed(rule: dict[str, Any], factor: float) -> dict[str, Any]:
    for name in ("for", "keep_firing_for"):
        if name in rule:
            rule[name] = shorter(str(rule[name]), factor)
    rule["expr"] = compressed_expression(str(rule["expr"]), factor)
    rule["labels"] = {**rule.get("labels", {}), CLOCK: COMPRESSED}
    return rule


def compressed_expression(expression: str, factor: float) -> str:
    """Return a PromQL expression with its windows and offsets divided by ``factor``."""

    def part(found: re.Match[str]) -> str:
        if found["text"] is not None:
            return found[0]
        return _IN_PART.sub(lambda each: shorter(each[0], factor), found[0])

    return _IN_EXPRESSION.sub(part, expression)


def shorter(duration: str, factor: float) -> str:
    """Return a duration divided by ``factor``, at least a millisecond unless it is 0."""
    ms = milliseconds(duration)
    return f"{max(1, round(ms / factor)) if ms else 0}ms"


def milliseconds(duration: str) -> int:
    """Return a duration such as ``1m30s`` in milliseconds.

    Raises:
        UsageError: it is none.
    """
    reported = duration.strip()
    if reported == "0":
        return 0
    if not re.fullmatch(_DURATION, reported):
        raise UsageError(f"{duration!r} is not a duration of Prometheus', such as 5m or 1m30s")
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _UNIT.findall(reported))
