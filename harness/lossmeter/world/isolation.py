"""What a program gets of the caller's environment: what this file names, and no more.

The environment of the harness's caller is made for the caller's own programs. A proxy,
a setting of libpq, pip or Locust, or a folder of modules in it would change what is
measured, or keep a helper from starting. So each program that the harness starts gets an
environment that is built here.

Run by its path it starts a program in the environment of set-up steps, before anything is
installed: ``python -I isolation.py COMMAND ...``; the Makefile does so.
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

# Who and where the user is, the language, and the certificates that this machine trusts.
_BASICS = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
_LANGUAGE = "LC_"
# How this machine reaches the network; only downloads are given.
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Without these the own interpreter may not start: a build that was moved, or an embedded one.
_INTERPRETER = ("LD_LIBRARY_PATH", "PYTHONHOME")
# Where pip finds packages and how it gets there. All else that its settings may say (a
# target, a prefix, the user's site, constraints) would send packages elsewhere.
_PIP = (
    *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "proxy"),
    *("cert", "client-cert", "timeout", "default-timeout", "retries", "keyring-provider"),
)
_UV = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS")
_PIP_SECTIONS = ("global", "install", ":env:")
# On a busy machine its start alone takes a minute.
_PIP_ANSWERS_S = 300
# What a Python helper of the harness imports.
_NEEDED = ("lossmeter", "locust", "gevent", "zmq", "msgpack", "httptools", "numpy", "psutil")


def environment() -> dict[str, str]:
    """Return what every program gets: paths, language, time zone, certificates."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _BASICS or name.startswith(_LANGUAGE)
    }


def python_environment() -> dict[str, str]:
    """Return ``environment`` with what the own interpreter needs in order to start."""
    own = {name: os.environ[name] for name in _INTERPRETER if name in os.environ}
    return environment() | own


def target_environment(command: Sequence[str], *, own: bool = False) -> dict[str, str]:
    """Return what a target's process gets besides what its file names.

    Args:
        command: the words of its file; ``{python}`` among them stands for the own
            interpreter, which then finds the packages that the harness itself found.
        own: it stands for that of the target's own environment, which finds no others, and
            leaves nothing beside the sources.
    """
    if not any("{python}" in word for word in command):
        return environment()
    if own:
        return python_environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    mine = python_environment()
    if found := [folder for folder in import_folders() if folder in _asked_for()]:
        mine["PYTHONPATH"] = os.pathsep.join(found)
    return mine


def download_environment() -> dict[str, str]:
    """Return ``environment`` with how this machine reaches the network."""
    names = (*_PROXIES, *(name.upper() for name in _PROXIES))
    return environment() | {name: os.environ[name] for name in names if name in os.environ}


def pip_environment() -> dict[str, str]:
    """Return an environment in which pip and uv install what and where their arguments say."""
    kept = {f"PIP_{name.upper().replace('-', '_')}": v for name, v in _pip_settings()}
    own = {name: os.environ[name] for name in (*_UV, *_INTERPRETER) if name in os.environ}
    if "PIP_INDEX_URL" in kept:
        own.setdefault("UV_DEFAULT_INDEX", kept["PIP_INDEX_URL"])
    return {
        **download_environment(),
        **own,
        **kept,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }


def python_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module with the own interpreter.

    Neither the working folder nor the folder of a script is searched for modules, and what
    is outside the interpreter's own folders comes last: nothing there hides another module.
    """
    start = (
        f"import runpy, sys; sys.path += [p for p in {import_folders()!r} if p not in sys.path]; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return (sys.executable, "-P", "-s", "-c", start, *arguments)


def import_folders() -> list[str]:
    """Return the folders from which this package and what it needs are imported."""
    found: dict[str, None] = {}
    for name in _NEEDED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[str(Path(spec.origin).absolute().parents[1])] = None
    return list(found)


def _asked_for() -> frozenset[str]:
    """Return the folders that only the caller's environment makes importable."""
    import site  # noqa: PLC0415 - knows the user's own folder

    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = [
        *filter(None, named),
        *([site.getusersitepackages()] if site.ENABLE_USER_SITE else []),
    ]
    return frozenset(str(Path(folder).absolute()) for folder in folders)


def _pip_settings() -> Iterator[tuple[str, str]]:
    """Yield the settings of pip that are kept, by files and variables, the stronger last."""
    done = subprocess.run(
        (sys.executable, "-P", "-s", "-m", "pip", "config", "list"),
        env=download_environment() | {n: v for n, v in os.environ.items() if n.startswith("PIP_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_PIP_ANSWERS_S,
        check=False,
    )
    reported = [line.partition("=") for line in done.stdout.splitlines()]
    # What the file of PIP_CONFIG_FILE says is not listed by every pip.
    named = configparser.ConfigParser(interpolation=None)
    with suppress(configparser.Error, UnicodeError):
        named.read(os.environ.get("PIP_CONFIG_FILE", os.devnull), encoding="utf-8")
    for section in _PIP_SECTIONS[:2]:
        if named.has_section(section):
            yield from ((k, v) for k, v in named.items(section) if k in _PIP)
    for section in _PIP_SECTIONS:
        for key, _, value in reported:
            name = key.removeprefix(f"{section}.")
            if name != key and name in _PIP:
                yield name, " ".join(shlex.split(value))


def main(command: Sequence[str]) -> None:
    """Become another program, in the environment of set-up steps."""
    os.execvpe(command[0], list(command), pip_environment())  # noqa: S606 - no shell


if __name__ == "__main__":
    main(sys.argv[1:])
