"""RabbitMQ with its management, of Debian's packages: unpacked into the cache, Erlang with it.

Erlang's nodes find each other by a daemon, epmd, that outlives them and that all nodes of a
machine share. This one needs none and starts none: it is a node by name only, that listens for
no others, so many of one name may run side by side.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.world import amqp_client, http_client
from lossmeter.world.install import debian
from lossmeter.world.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot, located
from lossmeter.world.services._debian import DebianServer
from lossmeter.world.services._files import IMAGES, accepts, write_for_container, write_private
from lossmeter.world.site import LogLine
from lossmeter.world.waiting import wait_for

if TYPE_CHECKING:
    import pika

_Body = Mapping[str, str | int]
USER, VHOST = "lossmeter", "%2F"
_MANAGEMENT = "management"
_ERLANG = ("asn1", "base", "crypto", "inets", "mnesia", "os-mon", "public-key")
_MORE_ERLANG = ("parsetools", "runtime-tools", "ssl", "syntax-tools", "tools", "xmerl")
_PACKAGES = ("rabbitmq-server", *(f"erlang-{name}" for name in (*_ERLANG, *_MORE_ERLANG)))
_HOME = "usr/lib/rabbitmq/lib"
# Whatever other plugin is there costs time at each start, whether it is enabled or not.
_KEPT = ("rabbitmq_management", "rabbitmq_prelaunch", "rabbitmq_web_dispatch")
# Inside a container, and below the server's folder on this machine.
_CONFIGURATION, _PLUGINS = "etc/rabbitmq/conf.d/90-lossmeter.conf", "etc/rabbitmq/enabled_plugins"
_CONTAINER_DATA, _CONTAINER_MIB = "/var/lib/rabbitmq", 768
_ANSWER_S, _ENDED_S, _TAKEN_S = 2.0, 5.0, 1.0
# See images/rabbitmq/entrypoint.sh.
_WATERMARK, _NOBODY = "lossmeter_watermark", "lossmeter.nobody"

_TEXT = """\
listeners.tcp.1 = {listen}
management.tcp.ip = {management.host}
management.tcp.port = {management.port}
default_user = {user}
default_pass = {password}
log.console = true
log.console.level = warning
log.file = false
# How old the numbers of the management may be, by default 5 s and five times as long as it takes
# to gather them.
collect_statistics_interval = 250
management.db_cache_multiplier = 1
"""


class RabbitMQ:
    """One node with one user, who may do everything, and the virtual host ``/``."""

    name = "rabbitmq"
    needs: tuple[str, ...] = ("pika",)
    unprivileged = False
    port = 5672
    further: Mapping[str, int] = {_MANAGEMENT: 15672}
    # The header of AMQP 0-9-1.
    question = b"AMQP\x00\x00\x09\x01"
    log_lines: Mapping[LogLine, str] = {}
    settings: Mapping[str, tuple[str, ...]] = {}

    def install(self, say: Callable[[str], None]) -> None:
        """Bring Debian's packages into the cache."""
        _PROGRAMS.install(self.unfit(), say)

    def missing(self) -> str | None:
        """Return what is not installed, or why it could not be."""
        return _PROGRAMS.missing(self.unfit())

    def unfit(self) -> str | None:
        """Return why this machine or user cannot run it, whatever is downloaded; or None."""
        return _PROGRAMS.unfit()

    def version(self) -> str:
        """Return e.g. ``RabbitMQ 3.10.8``."""
        return f"RabbitMQ {_server().name.rpartition('-')[2]}"

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Write the configuration; the password is in it and not on the command line."""
        del run
        path = slot.folder / _CONFIGURATION
        path.parent.mkdir(mode=0o700, parents=True)
        write_private(path, _text(slot, slot.listen, _management(slot)))
        write_private(slot.folder / _PLUGINS, "[rabbitmq_management].\n")

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how it is started."""
        environment = {
            "LC_ALL": "C.UTF-8",
            "PATH": "/usr/bin:/bin",
            "HOME": str(slot.folder),
            # All that it reads and writes lies below.
            "SYS_PREFIX": str(slot.folder),
            "ROOTDIR": str(_PROGRAMS.existing() / "usr" / "lib" / "erlang"),
            "RABBITMQ_HOME": str(_server()),
        }
        script = IMAGES / self.name / "entrypoint.sh"
        return ProcessSpec(("/bin/sh", str(script)), environment)

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return the recipe; the server comes from Debian's packages."""
        del say
        return Recipe(self.name, IMAGES / self.name)

    def container(self, slot: Slot) -> ContainerSpec:
        """Write the configuration to where the official image reads it too."""
        everywhere = "0.0.0.0"  # noqa: S104 - inside the container
        inside = (Address(everywhere, port) for port in (self.port, self.further[_MANAGEMENT]))
        path = slot.folder / "lossmeter.conf"
        memory = f"total_memory_available_override_value = {_CONTAINER_MIB}MiB\n"
        write_for_container(path, _text(slot, *inside) + memory)
        return ContainerSpec(
            published=self.port,
            # By default it bears the name of the host, which is another for each container.
            environment={"RABBITMQ_NODENAME": f"{USER}@localhost"},
            files={f"/{_CONFIGURATION}": path},
            data=_CONTAINER_DATA,
            memory_mib=_CONTAINER_MIB,
        )

    def running_version(self, slot: Slot) -> str | None:
        """Ask the management."""
        try:
            return f"RabbitMQ {_asked(slot, 'overview')['rabbitmq_version']}"
        except ServiceError:
            return None

    def ready(self, slot: Slot) -> bool:
        """Log in, at AMQP and at the management."""
        if not accepts(slot.listen.host, slot.listen.port) or not _logs_in(slot):
            return False
        try:
            return bool(_asked(slot, "overview"))
        except ServiceError:
            return False

    def reset(self, slot: Slot) -> None:
        """End all connections and make the virtual host anew, without any other."""
        for each in _asked(slot, "vhosts"):
            _obeyed(slot, "DELETE", f"vhosts/{_quoted(each['name'])}")
        _obeyed(slot, "PUT", f"vhosts/{VHOST}", {"description": "Default virtual host"})
        everything = dict.fromkeys(("configure", "write", "read"), ".*")
        _obeyed(slot, "PUT", f"permissions/{VHOST}/{USER}", everything)
        # They end with their virtual host, though not at once.
        if not wait_for(lambda: not _asked(slot, "connections"), _ENDED_S):
            raise ServiceError(f"rabbitmq on {slot.listen} did not end the connections to it")

    def contents(self, slot: Slot) -> frozenset[str]:
        """Ask for users, virtual hosts, what is in them, and connections."""
        return frozenset(_described(slot))

    def alarms(self, slot: Slot) -> frozenset[str]:
        """Ask for its health: what the management tells of a node otherwise is seconds old."""
        answer = _answered(slot, "GET", "health/checks/local-alarms")
        checked = answer.json_object() or {}
        if "status" not in checked:
            raise ServiceError(f"rabbitmq on {slot.listen} does not tell its alarms")
        return frozenset(each["resource"] for each in checked.get("alarms", ()))

    def blocked(self, slot: Slot) -> str:
        """Publish to a queue that is not there, and wait until it is confirmed."""
        import pika  # noqa: PLC0415 - heavy, and the CLI must start fast

        try:
            # What the broker says is blocked is given up after so long.
            connection = amqp_client.connect(_parameters(slot), _TAKEN_S)
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish("", _NOBODY, b"")
            connection.close()
        except pika.exceptions.ConnectionBlockedTimeout:
            return f"told that it is blocked, and nothing confirmed within {_TAKEN_S:g} s"
        except (pika.exceptions.AMQPError, OSError) as error:
            raise ServiceError(f"rabbitmq on {slot.listen}: {error!r}") from None
        return ""

    def set_watermark(self, slot: Slot, limit_bytes: int | None) -> None:
        """Ask for it by a parameter, which the node heeds."""
        what = f"global-parameters/{_WATERMARK}"
        if limit_bytes is not None:
            _obeyed(slot, "PUT", what, {"value": limit_bytes})
        elif any(each["name"] == _WATERMARK for each in _asked(slot, "global-parameters")):
            _obeyed(slot, "DELETE", what)

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where a client finds it; ``management`` is around every proxy."""
        return located(
            address,
            username=USER,
            password=slot.password,
            url=f"amqp://{USER}:{slot.password}@{address}/{VHOST}",
            management=f"http://{_management(slot)}",
        )


def _logs_in(slot: Slot) -> bool:
    import pika  # noqa: PLC0415 - heavy, and the CLI must start fast

    try:
        amqp_client.connect(_parameters(slot), _ANSWER_S).close()
    except (pika.exceptions.AMQPError, OSError):
        return False
    return True


def _parameters(slot: Slot) -> pika.ConnectionParameters:
    import pika  # noqa: PLC0415 - heavy, and the CLI must start fast

    login = pika.PlainCredentials(USER, slot.password)
    return pika.ConnectionParameters(slot.listen.host, slot.listen.port, credentials=login)


def _described(slot: Slot) -> Iterator[str]:
    """Yield a line for each thing in it; of a user instead of the password what tells it apart."""
    defined = _asked(slot, "definitions")
    for user in defined["users"]:
        digest = hashlib.sha256(json.dumps(user, sort_keys=True).encode()).hexdigest()
        yield f"user {user['name']} ({digest[:8]})"
    for kind in ("permissions", "topic_permissions", "parameters", "global_parameters", "policies"):
        yield from (f"{kind} {json.dumps(each, sort_keys=True)}" for each in defined[kind])
    for kind in ("vhosts", "exchanges", "bindings"):
        for each in _asked(slot, kind):
            yield f"{kind.removesuffix('s')} {_named(each)}"
    for queue in _asked(slot, "queues?disable_stats=true"):
        yield f"queue {queue['name']} in {queue['vhost']}"
    for connection in _asked(slot, "connections"):
        yield f"connection of {connection.get('user', 'nobody')}"


def _named(thing: Mapping[str, Any]) -> str:
    names = ("name", "source", "destination", "routing_key", "vhost")
    return " ".join(f"{name}={thing[name]}" for name in names if thing.get(name))


def _asked(slot: Slot, what: str) -> Any:
    return json.loads(_obeyed(slot, "GET", what))


def _obeyed(slot: Slot, method: str, what: str, body: _Body | None = None) -> bytes:
    """Return what the management answers.

    Raises:
        ServiceError: it does not, or refuses.
    """
    answer = _answered(slot, method, what, body)
    if answer.status >= 300:
        raise _refusal(slot, f"refuses with {answer.status}", method, what)
    return answer.body


def _answered(slot: Slot, method: str, what: str, body: _Body | None = None) -> http_client.Answer:
    login = base64.b64encode(f"{USER}:{slot.password}".encode()).decode()
    answer = http_client.ask(
        f"http://{_management(slot)}/api/{what}",
        _ENDED_S,
        method=method,
        body=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    if answer is None:
        raise _refusal(slot, "does not answer", method, what)
    return answer


def _refusal(slot: Slot, word: str, method: str, what: str) -> ServiceError:
    return ServiceError(f"the management of rabbitmq on {slot.listen} {word}: {method} {what}")


def _quoted(name: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415

    return quote(name, safe="")


def _management(slot: Slot) -> Address:
    # A place that is only asked what it would be has no ports of its own.
    return slot.further.get(_MANAGEMENT, slot.listen)


def _text(slot: Slot, listen: Address, management: Address) -> str:
    return _TEXT.format(listen=listen, management=management, user=USER, password=slot.password)


def _unpack(to: Path, say: Callable[[str], None]) -> None:
    debian.unpack("RabbitMQ", _PACKAGES, to, say)
    for plugin in (to / _HOME).glob("rabbitmq_server-*/plugins/rabbitmq_*"):
        if not plugin.name.startswith(_KEPT):
            shutil.rmtree(plugin)


_PROGRAMS = DebianServer(
    name=RabbitMQ.name,
    what="Debian's packages",
    lack="without apt-get and dpkg-deb the packages of RabbitMQ cannot be had",
    unpack=_unpack,
    needs_mib=150,
)


def _server() -> Path:
    return next((_PROGRAMS.existing() / _HOME).glob("rabbitmq_server-*"))


SERVICE: Service = RabbitMQ()
