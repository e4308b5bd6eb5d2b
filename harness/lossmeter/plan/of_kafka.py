"""What every kind that speaks to Kafka takes: brokers, topic, librdkafka's own settings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from lossmeter.plan.tables import Table

_LOGIN = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "{kafka.username}",
    "sasl.password": "{kafka.password}",
}


class OfKafka(Table):
    """Which topic of which brokers.

    Attributes:
        address: of the brokers; by default those that the harness starts, whose login then
            needs no words.
        topic: its name.
        settings: librdkafka's own, e.g. ``{"enable.idempotence" = "true"}``.
    """

    address: str = "{kafka.address}"
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=249)]
    settings: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _own_brokers(cls, given: Any) -> Any:
        if isinstance(given, dict) and "address" not in given:
            settings = given.get("settings", {})
            if isinstance(settings, dict):
                return given | {"settings": _LOGIN | settings}
        return given
