"""Connections to an AMQP broker that are there soon, or not at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pika


def connect(parameters: pika.connection.Parameters, within_s: float) -> pika.BlockingConnection:
    """Connect, in one attempt.

    Args:
        parameters: where to, and who as.
        within_s: seconds for each step.

    Raises:
        pika.exceptions.AMQPError, OSError: the broker is not there, refuses, or accepts and
            answers nothing.
    """
    import pika  # noqa: PLC0415 - heavy, and the CLI must start fast
    from pika.adapters.utils.connection_workflow import AMQPConnectorException  # noqa: PLC0415

    # What broke is told by what is raised.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.stack_timeout = within_s
    parameters.blocked_connection_timeout = within_s
    try:
        return pika.BlockingConnection(parameters)
    except AMQPConnectorException as error:
        # A broker that is frozen accepts, and answers nothing: none of pika's own errors.
        raise pika.exceptions.AMQPConnectionError(str(error)) from None
