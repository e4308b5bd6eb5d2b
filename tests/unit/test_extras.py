"""Extras: what is not installed is named with what to type, before anything is started."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from lossmeter.errors import UnavailableError, UsageError
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.plan.target import load_target
from lossmeter.plugins import EXTRAS, lacking, need
from lossmeter.run.admission import check
from lossmeter.world.runtimes import local
from lossmeter.world.services import discover
from lossmeter.world.stores import store_options

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"bench", "dev", "all"}


def _names(requirements: list[str]) -> Iterator[str]:
    for each in requirements:
        name, options = re.fullmatch(r"([\w-]+)(?:\[([\w,]+)\])?", each).groups()  # type: ignore[union-attr]
        if name == "lossmeter":
            for extra in options.split(","):
                yield from _names(PROJECT["optional-dependencies"][extra])
        else:
            yield name


def _hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make packages look as if they were not installed."""
    real = sys.modules["lossmeter.plugins"].find_spec
    monkeypatch.setattr(
        "lossmeter.plugins.find_spec", lambda name: None if name in names else real(name)
    )


def test_the_table_of_extras_is_that_of_the_project() -> None:
    brought = metadata.packages_distributions()
    every = PROJECT["optional-dependencies"]
    for extra, imports in EXTRAS.items():
        own = {dist.lower().replace("_", "-") for name in imports for dist in brought[name]}
        # psycopg has its pool beside it, and the binary wheel comes with an option of it.
        listed = {"psycopg-pool" if "pool" in each else re.split(r"[\[]", each)[0]
                  for each in every[extra] if not each.startswith("lossmeter[")}  # fmt: skip
        assert own == listed
    assert set(every) == {*EXTRAS, *OWN}
    assert set(_names(every["all"])) == {name for extra in EXTRAS for name in _names(every[extra])}


def test_a_sentence_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(["psycopg", "pandas"]) is None
    _hide(monkeypatch, "psycopg", "toxiproxy", "redis")
    assert lacking(["psycopg", "redis", "toxiproxy"]) == (
        "psycopg, redis and toxiproxy are not installed; "
        "type: pip install 'lossmeter[postgres,redis]'"
    )
    with pytest.raises(UnavailableError, match=r"pip install 'lossmeter\[redis\]'"):
        need("redis", "numpy")


def test_a_cell_is_refused_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue.here()
    (cell,) = cells(catalogue, catalogue.experiment("control"), ["channel"], [])
    assert check(cell, local.RUNTIME) is None
    _hide(monkeypatch, "uvloop")
    with pytest.raises(UnavailableError, match=r"channel: uvloop .*lossmeter\[dispatcher\]"):
        check(cell, local.RUNTIME)


def test_a_kind_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    _hide(monkeypatch, "confluent_kafka")
    table = {"kind": "kafka", "topic": "out", "brokers": "127.0.0.1:1"}
    with pytest.raises(UnavailableError, match=r"persisted kafka: .*lossmeter\[kafka\]"):
        store_options("mine", table)


def test_every_server_names_what_an_extra_brings() -> None:
    known = {name for imports in EXTRAS.values() for name in imports}
    for service in discover().values():
        assert set(service.needs) <= known


def test_a_target_names_extras_that_exist(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "channel"\nname = "mine"\nextras = ["dispatchr"]\n')
    with pytest.raises(UsageError, match="did you mean 'dispatcher'"):
        load_target(file)


@pytest.mark.parametrize(
    ("command", "hidden", "extra"),
    [
        (["results"], "pyarrow", "parquet"),
        (["serve"], "uvicorn", "serve"),
        (["run", "control", "--repeat", "2"], "scipy", "statistics"),
        (["run", "control", "--runtime", "docker"], "docker", "docker"),
    ],
)
def test_a_command_says_what_to_type(
    command: list[str], hidden: str, extra: str, tmp_path: Path
) -> None:
    """A finder in front of all others finds nothing of the hidden package, as where it is not."""
    start = (
        "import sys, importlib.machinery as m\n"
        "find = m.PathFinder.find_spec\n"
        f"m.PathFinder.find_spec = classmethod(lambda c, n, *a: None if n == {hidden!r} else "
        "find(n, *a))\n"
        f"sys.argv[1:] = {command!r}\n"
        "from lossmeter.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", start],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert f"pip install 'lossmeter[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
