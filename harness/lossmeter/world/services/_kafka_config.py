"""Kafka's configuration: one node that is broker and controller, durable as by default.

Three listeners, all with SASL, so that nobody else on the machine gets in:

- CLIENT, where the runtime wants it; tells its clients the advertised address, so that
  they stay behind a proxy;
- INTERNAL, for the node itself and for an auditor who must go around the proxy;
- CONTROLLER, for the metadata quorum.
"""

from __future__ import annotations

from pathlib import Path

from lossmeter.world.ports import free_ports
from lossmeter.world.service import Slot
from lossmeter.world.services._files import write_for_container, write_private

USER = "harness"
_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container
_CONTROLLER = 9093
_INTERNAL = "internal.port"

_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
{quorum}
listeners=CLIENT://{client},INTERNAL://{internal},CONTROLLER://{controller}
advertised.listeners=CLIENT://{advertised},INTERNAL://{auditor}
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=\
CLIENT:SASL_PLAINTEXT,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config={accept};
listener.name.internal.plain.sasl.jaas.config={accept} {offer};
listener.name.controller.plain.sasl.jaas.config={accept} {offer};
log.dirs={data}

# A target creates the topics that it needs, so a misspelt one is an error.
auto.create.topics.enable=false
num.partitions=4

# One node can hold one copy only.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# A broker that was killed is let back in after its old session ended: 4 s instead of 12 s.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500

# How fast a group recovers is for the target to choose, down to a second.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=100

# The default, 128 MiB, is half of the heap.
log.cleaner.dedupe.buffer.size=16777216
"""

_LOGGING = """\
<Configuration status="WARN" shutdownHook="disable">
  <Appenders>
    <Console name="stderr" target="SYSTEM_ERR">
      <PatternLayout pattern="%d{ISO8601} %p %c{1}: %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="stderr"/></Root>
  </Loggers>
</Configuration>
"""


def write_configuration(slot: Slot) -> None:
    """Write all files that Kafka reads; its own ports are chosen here, once for all starts."""
    internal, controller = free_ports(2)
    text = _properties(
        slot,
        quorum=f"controller.quorum.bootstrap.servers={_LOOPBACK}:{controller}",
        client=str(slot.listen),
        internal=f"{_LOOPBACK}:{internal}",
        controller=f"{_LOOPBACK}:{controller}",
        auditor=f"{_LOOPBACK}:{internal}",
        # Within the folder in which it runs: this may be a list, parted by commas.
        data="data",
    )
    write_private(properties_file(slot), text)
    write_private(logging_file(slot), _LOGGING)
    write_private(slot.folder / _INTERNAL, str(internal))


def write_container_configuration(slot: Slot, port: int) -> Path:
    """Write the files for a container that listens on ``port`` inside; return their folder.

    The internal listener has the same number inside as on this machine, so that the
    address that it advertises leads to it from both sides.
    """
    folder = slot.folder / "config"
    folder.mkdir()
    folder.chmod(0o755)
    internal = slot.listen.port
    text = _properties(
        slot,
        # A fixed quorum is what the official image's formatting understands.
        quorum=f"controller.quorum.voters=1@{_LOOPBACK}:{_CONTROLLER}",
        client=f"{_EVERYWHERE}:{port}",
        internal=f"{_EVERYWHERE}:{internal}",
        controller=f"{_LOOPBACK}:{_CONTROLLER}",
        auditor=f"{slot.listen.host}:{internal}",
        data="/var/lib/kafka/data/log",
    )
    write_for_container(folder / "server.properties", text)
    write_for_container(folder / "log4j2.xml", _LOGGING)
    write_private(slot.folder / _INTERNAL, str(internal))
    return folder


def _properties(slot: Slot, **parts: str) -> str:
    more = "".join(f"{name}={value}\n" for name, value in slot.settings.items())
    return more + _PROPERTIES.format(
        advertised=slot.advertised,
        accept=f'{_LOGIN} user_{USER}="{slot.password}"',
        offer=f'username="{USER}" password="{slot.password}"',
        **parts,
    )


def properties_file(slot: Slot) -> Path:
    """Return where the configuration is."""
    return slot.folder / "server.properties"


def logging_file(slot: Slot) -> Path:
    """Return where the configuration of the log is."""
    return slot.folder / "log4j2.xml"


def internal_port(slot: Slot) -> int:
    """Return the port of the listener that goes around every proxy."""
    return int((slot.folder / _INTERNAL).read_text(encoding="utf-8"))
