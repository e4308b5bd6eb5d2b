"""The pytest plugin: ``lossless_run`` runs an experiment within a team's own test suite.

Every pytest in an environment with this package loads this file, so it imports nothing
of the harness until the fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lossmeter.commands._suite import LosslessRunner

FIXTURE = "lossless_run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("lossmeter", "runs that may lose events")
    group.addoption(
        "--lossmeter-runtime",
        default="auto",
        metavar="auto|local|docker",
        help="Where servers and targets run.",
    )
    group.addoption(
        "--lossmeter-seed",
        type=int,
        metavar="N",
        help="Fixes the events sent. Default: random; a failure shows it.",
    )
    group.addoption(
        "--lossmeter-runs",
        metavar="FOLDER",
        help="Keeps the run folders here. Default: a temporary folder of pytest's.",
    )


@pytest.fixture(scope="session")
def lossless_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> LosslessRunner:
    """Run an experiment: ``lossless_run("crash", target="ours.toml").lost == 0``."""
    from lossmeter.commands._suite import LosslessRunner

    return LosslessRunner(request.config, tmp_path_factory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the tables of a failed test's runs below its traceback."""
    report = yield
    fixtures: dict[str, object] = getattr(item, "funcargs", {})
    if report.failed and FIXTURE in getattr(item, "fixturenames", ()):
        from lossmeter.commands._suite import tables

        report.sections += [("lossmeter", text) for text in tables(item.nodeid, fixtures)]
    return report
