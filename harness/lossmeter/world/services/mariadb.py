"""MariaDB, of Debian's package: unpacked into the cache, or the machine's own.

The container's environment and command are those of the official image.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.world import programs
from lossmeter.world.install import cache as servers
from lossmeter.world.install import debian
from lossmeter.world.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot
from lossmeter.world.services._debian import DebianServer
from lossmeter.world.services._files import IMAGES, accepts, write_private
from lossmeter.world.site import LogLine
from lossmeter.world.waiting import wait_for

if TYPE_CHECKING:
    import pymysql

USER, DATABASE = "root", "events"
_USR = Path("/usr")
_PACKAGE = "mariadb-server-core"
_LIBRARIES = ("libaio1", "libnuma1", "liburing2")
_CONTAINER_DATA = "/var/lib/mysql"
_ANSWER_S, _VERSION_S, _ENDED_S = 2, 20.0, 5.0

# What mariadb-install-db does, without the programs of other packages that it calls.
_SCRIPTS = ("system_tables", "performance_tables", "system_tables_data")
_BEGIN = "create database mysql;\nuse mysql;\nset @auth_root_socket = null;\n"
# Whoever is there by default has no password.
_OWN = """
delete from mysql.global_priv where User in ('root', '');
flush privileges;
create user {user}@'%' identified by '{password}';
grant all on *.* to {user}@'%' with grant option;
create database {database};
"""
_BOOTSTRAP = (
    'cat "$2"/*.sql | "$1" --no-defaults --bootstrap --datadir="$3" --tmpdir="$3" "$4" "$5"'
)

_SYSTEM = "('mysql', 'information_schema', 'performance_schema', 'sys')"
_OTHERS = (
    "select id, user from information_schema.processlist "
    "where id <> connection_id() and user not in ('system user', 'event_scheduler')"
)
_CONTENTS = f"""
select 'setting', concat(lower(variable_name), ' = ', variable_value)
    from information_schema.global_variables where variable_name not like 'gtid%'
union all select 'database', schema_name from information_schema.schemata
union all select 'table', concat(table_schema, '.', table_name) from information_schema.tables
    where table_schema not in {_SYSTEM}
union all select 'routine', concat(routine_schema, '.', routine_name)
    from information_schema.routines where routine_schema not in ('sys', 'mysql')
union all select 'user', concat(User, '@', Host, ' (', left(md5(Priv), 8), ')')
    from mysql.global_priv
"""  # noqa: S608 - all of it stands here


class MariaDB:
    """One server with the database ``events``, durable as by default."""

    name = "mariadb"
    needs: tuple[str, ...] = ("pymysql",)
    unprivileged = True
    port = 3306
    # It speaks first; whatever is said, it has answered.
    question = b"\0"
    log_lines: Mapping[LogLine, str] = {"recovered": "Starting crash recovery"}
    settings: Mapping[str, tuple[str, ...]] = {"innodb_flush_log_at_trx_commit": ("1", "2", "0")}

    def install(self, say: Callable[[str], None]) -> None:
        """Bring Debian's package into the cache, where the machine has no MariaDB."""
        _PROGRAMS.install(self.unfit(), say)

    def missing(self) -> str | None:
        """Return what is not installed, or why it could not be started."""
        return _PROGRAMS.missing(self.unfit())

    def unfit(self) -> str | None:
        """Return why this machine or user cannot run it, whatever is downloaded; or None."""
        return _PROGRAMS.unfit() or servers.closed_to("MariaDB")

    def version(self) -> str:
        """Return e.g. ``MariaDB 10.11.19``, as the binary says."""
        return f"MariaDB {_binary_version(_server())}"

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Create the data folder, the user and the database."""
        share, sources, data = _share(), slot.folder / "sql", slot.folder / "data"
        owner = slot.folder.stat()
        for folder in (sources, data):
            folder.mkdir(mode=0o700)
            shutil.chown(folder, owner.st_uid, owner.st_gid)
        parts = [_BEGIN, *(_script(share / f"mysql_{name}.sql") for name in _SCRIPTS)]
        parts.append(_script(share / "maria_add_gis_sp_bootstrap.sql"))
        parts.append(_OWN.format(user=USER, password=slot.password, database=DATABASE))
        for number, text in enumerate(parts):
            write_private(sources / f"{number}.sql", text)
        places = (str(_server()), str(sources), str(data), *_messages())
        try:
            run(ProcessSpec(("/bin/sh", "-c", _BOOTSTRAP, "sh", *places), _environment()))
        finally:
            shutil.rmtree(sources)

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how it is started."""
        data = slot.folder / "data"
        argv = (
            *(str(_server()), "--no-defaults", f"--datadir={data}", f"--tmpdir={data}"),
            *(f"--bind-address={slot.listen.host}", f"--port={slot.listen.port}"),
            # A socket's path may have 107 characters, and a run's folder may be longer.
            *("--socket=", f"--pid-file={data / 'pid'}", f"--plugin-dir={data}"),
            *(*_messages(), *_options(slot)),
        )
        return ProcessSpec(argv, _environment())

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return the recipe; the server comes from Debian's packages."""
        del say
        return Recipe(self.name, IMAGES / self.name)

    def container(self, slot: Slot) -> ContainerSpec:
        """Return how it is started."""
        # Below the mount: some file systems put a folder of their own at its root.
        data = f"--datadir={_CONTAINER_DATA}/data"
        places = (data, "--socket=/tmp/mysqld.sock", "--bind-address=0.0.0.0")
        return ContainerSpec(
            published=self.port,
            environment={"MARIADB_ROOT_PASSWORD": slot.password, "MARIADB_DATABASE": DATABASE},
            command=("mariadbd", *places, *_options(slot)),
            data=_CONTAINER_DATA,
        )

    def running_version(self, slot: Slot) -> str | None:
        """Ask for ``version()``."""
        said = _ask(slot, "select version()")
        return f"MariaDB {str(said).partition('-')[0]}" if said else None

    def ready(self, slot: Slot) -> bool:
        """Ask for ``select 1`` in the database."""
        listens = accepts(slot.listen.host, slot.listen.port)
        return listens and _ask(slot, "select 1") == 1

    def reset(self, slot: Slot) -> None:
        """End all sessions and make the database anew, without any other."""
        with _at(slot) as cursor:
            cursor.execute(_OTHERS)
            for number, _ in cursor.fetchall():
                cursor.execute(f"kill {int(number)}")
            if not wait_for(lambda: not cursor.execute(_OTHERS), _ENDED_S):
                raise ServiceError(f"mariadb on {slot.listen} did not end the sessions in it")
            cursor.execute(
                f"select schema_name from information_schema.schemata "  # noqa: S608 - ours
                f"where schema_name not in {_SYSTEM}"
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f"drop database `{name.replace('`', '``')}`")
            cursor.execute(f"create database {DATABASE}")

    def contents(self, slot: Slot) -> frozenset[str]:
        """Ask for settings, users, databases and what is in them, and sessions."""
        with _at(slot) as cursor:
            cursor.execute(_CONTENTS)
            said = {f"{kind} {what}" for kind, what in cursor.fetchall()}
            cursor.execute(_OTHERS)
            return frozenset(said | {f"session of {user}" for _, user in cursor.fetchall()})

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where a client finds the database ``events``."""
        return {
            "host": address.host,
            "port": str(address.port),
            "address": str(address),
            "username": USER,
            "password": slot.password,
            "database": DATABASE,
            "url": f"mysql://{USER}:{slot.password}@{address}/{DATABASE}",
        }


def _ask(slot: Slot, query: str) -> object:
    """Return the one value of a query; None when the server does not answer."""
    try:
        with _at(slot, DATABASE) as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
            return row[0] if row else None
    except ServiceError:
        return None


@contextmanager
def _at(slot: Slot, database: str | None = None) -> Iterator[pymysql.cursors.Cursor]:
    """Open a session.

    Raises:
        ServiceError: the server does not answer, or refuses what it is asked in the block.
    """
    import pymysql  # noqa: PLC0415 - the CLI must start fast

    place: dict[str, Any] = {"host": slot.listen.host, "port": slot.listen.port}
    try:
        with (
            closing(
                pymysql.connect(
                    **place,
                    user=USER,
                    password=slot.password,
                    database=database,
                    connect_timeout=_ANSWER_S,
                    read_timeout=_VERSION_S,
                    autocommit=True,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor
    except pymysql.Error as error:
        raise ServiceError(f"mariadb on {slot.listen}: {error.args[-1]}") from None


def _options(slot: Slot) -> tuple[str, ...]:
    defaults = {name: values[0] for name, values in SERVICE.settings.items()}
    settings = {
        "max-connections": "200",
        # Who looks whether it is there breaks off in the middle of the greeting.
        "max-connect-errors": "4294967295",
        "skip-name-resolve": "1",
        "default-time-zone": "+00:00",
        "character-set-server": "utf8mb4",
        "innodb-log-file-size": "32M",
    }
    return tuple(f"--{n}={v}" for n, v in (settings | defaults | dict(slot.settings)).items())


def _script(path: Path) -> str:
    return path.read_text("utf-8", "replace")


def _unpack(to: Path, say: Callable[[str], None]) -> None:
    debian.unpack("mariadb", (_PACKAGE, *_LIBRARIES), to, say)


def _own() -> Path | None:
    """Return the folder that holds the machine's own ``sbin/mariadbd``."""
    return _USR if (_USR / "sbin" / "mariadbd").exists() else None


_PROGRAMS = DebianServer(
    name=MariaDB.name,
    what="Debian's package",
    lack=(
        "MariaDB is not installed on this machine, and without apt-get and dpkg-deb its "
        "package cannot be had; install mariadb-server"
    ),
    unpack=_unpack,
    needs_mib=200,
    own=_own,
)


def _home() -> Path:
    """Return the folder that holds ``sbin/mariadbd``, the machine's own or the unpacked one."""
    folder = _PROGRAMS.existing()
    return folder if folder == _USR else folder / "usr"


def _server() -> Path:
    return _home() / "sbin" / "mariadbd"


def _share() -> Path:
    return _home() / "share" / "mysql"


def _messages() -> tuple[str, str]:
    share = _share()
    return f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}"


def _environment() -> dict[str, str]:
    home = _home()
    libraries = ":".join(str(path) for path in sorted((home / "lib").glob("*-linux-gnu*")))
    own = {} if home == Path("/usr") else {"LD_LIBRARY_PATH": libraries}
    return {"LC_ALL": "C", "TZ": "UTC", **own}


@cache
def _binary_version(server: Path) -> str:
    command = (str(server), "--no-defaults", "--version")
    ended = programs.run(command, _VERSION_S, environment=_environment())
    found = re.search(r"Ver (\d+(?:\.\d+)+)", ended.checked(ServiceError))
    return found.group(1) if found else "unknown"


SERVICE: Service = MariaDB()
