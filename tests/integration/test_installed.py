"""The built wheel, installed elsewhere, used from a repository that knows nothing of this one."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter.world.install.cache import cache_root
from tests.support.installed import ROOT, as_nobody, do, environment_of, python_for_everybody

DISPATCHER = ROOT / "docs" / "examples"
NOT_OURS = "raise RuntimeError('a module of somebody else was loaded')\n"

SUITE = """
def test_nothing_is_lost(lossless_run):
    assert lossless_run("control", target="channel").lost == 0
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with folders and modules of the names that this one has, or Python."""
    for name in ("targets", "experiments", "harness", "lossmeter_dispatcher"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(NOT_OURS)
    for name in ("queue.py", "secrets.py", "experiments/ab_test.py"):
        (tmp_path / name).write_text(NOT_OURS + "EXPERIMENT = 1\n")
    (tmp_path / "targets" / "production.toml").write_text('name = "production"\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_loss.py").write_text(SUITE)
    return tmp_path


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and age of every file of an installation, but for Python's own caches."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_what_is_found_by_place(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "lossmeter/load/locustfile.py",
        "lossmeter/py.typed",
        "lossmeter/shipped/experiments/budgets.toml",
        "lossmeter/shipped/experiments/crash.py",
        "lossmeter/shipped/targets/channel.toml",
        "lossmeter/shipped/targets/dispatcher/Dockerfile",
        "lossmeter/shipped/targets/dispatcher/requirements.lock",
        "lossmeter/shipped/targets/dispatcher/lossmeter_dispatcher/app.py",
        "lossmeter/shipped/targets/monitoring/alerts.yml",
        "lossmeter/world/install/requirements-go.lock",
        "lossmeter/world/runtimes/images/base/Dockerfile",
        "lossmeter/world/runtimes/images/load/requirements.lock",
        "lossmeter/world/services/kafka.lock",
        "lossmeter_dispatcher/app.py",
    ):
        assert name in names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "lossmeter",
        "lossmeter_dispatcher",
    }
    # What a package manager brings into a target's folder is not shipped: install into a copy.
    strays = ("__pycache__", ".pyc", "node_modules")
    assert not [name for name in names if any(stray in name for stray in strays)]
    kept = {str(path.relative_to(ROOT / "harness")) for path in (ROOT / "harness").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    assert kept <= names


def test_places_in_an_installation(installed: Path, repository: Path) -> None:
    code = (
        "import lossmeter, lossmeter_dispatcher; from pathlib import Path;"
        "from lossmeter.plan.catalogue import Catalogue as C; c = C.here();"
        "t = c.target('channel'); b = t.container.build;"
        "assert (b / 'Dockerfile').is_file() and (b / 'lossmeter_dispatcher' / 'app.py').is_file();"
        "assert c.file('targets', 'monitoring').is_dir();"
        "assert all(c.experiment(n) for n in c.experiment_names());"
        "from lossmeter.world.install import go_modules; from lossmeter.world.runtimes import"
        " _docker_images as d, _kube_images as k; assert go_modules._GO_LOCK.is_file();"
        "assert (d.BASE / 'Dockerfile').is_file() and (k.LOAD / 'Dockerfile').is_file();"
        "from lossmeter.report.page import save_run_page; print(lossmeter.__file__)"
    )
    out = do(installed / "bin" / "python", "-P", "-c", code, cwd=repository)
    assert out.strip().startswith(str(installed))


def test_a_repository_with_colliding_names(installed: Path, repository: Path) -> None:
    before = _state(installed)
    lossmeter = installed / "bin" / "lossmeter"
    listed = do(lossmeter, "list", cwd=repository)
    assert "crash" in listed
    assert "production" not in listed
    assert "ab-test" not in listed
    do(lossmeter, "run", "control", "--target", "channel", "--runtime", "local", cwd=repository)
    (run,) = (repository / "results" / "runs").iterdir()
    assert (run / "report.html").is_file()
    do(lossmeter, "gate", cwd=repository)
    assert (repository / "results" / "junit.xml").is_file()
    suite = installed / "bin" / "python", "-P", "-m", "pytest", "-q", "tests"
    passed = do(*suite, "--lossmeter-runtime=local", cwd=repository)
    assert "1 passed" in passed
    assert len(list((repository / "results" / "runs").iterdir())) == 1
    assert _state(installed) == before


def test_a_target_of_ones_own_needs_no_file_of_this_project(
    installed: Path, repository: Path
) -> None:
    """Where Docker answers, what has no container still runs, as a process."""
    text = (DISPATCHER / "dispatcher.toml").read_text()
    program = repository / "dispatcher.py"
    program.write_text((DISPATCHER / "dispatcher.py").read_text())
    (repository / "targets" / "mine.toml").write_text(
        # Its own folder is the repository's, where a queue.py hides the standard library's.
        text.replace('"docs/examples/dispatcher.py"', f'"-P", "{program}"')
    )
    (repository / "lossmeter.toml").write_text('runs = "build/loss"\n')
    lossmeter = installed / "bin" / "lossmeter"
    assert "mine" in do(lossmeter, "list", cwd=repository)
    do(lossmeter, "run", "control", "--target", "mine", cwd=repository / "tests")
    assert len(list((repository / "build" / "loss").iterdir())) == 1


# What is mounted read-only is so for root too; beside the own loopback there is no network.
CUT_OFF = """
ip link set lo up && mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 99
shift; exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces and takes mounts away")
def test_a_read_only_installation_without_network_in_a_path_of_any_letters(
    installed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mit Leerzeichen und ü"
    folder.mkdir()
    alone = "unshare", "--net", "--mount", "sh", "-c", CUT_OFF, "sh", installed
    run = installed / "bin" / "lossmeter", "run", "control", "--target", "channel"
    do(*alone, *run, "--runtime", "local", "--duration", "1", cwd=folder)
    (made,) = (folder / "results" / "runs").iterdir()
    assert (made / "report.html").is_file()
    assert "1 pass" in do(installed / "bin" / "lossmeter", "gate", cwd=folder)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="lossmeter-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_user_without_a_home(wheel: Path, open_folder: Path) -> None:
    python = python_for_everybody()
    if python is None:
        pytest.skip("no interpreter of this version here may be started by everybody")
    environment = environment_of(wheel, open_folder / "venv", python)
    work = open_folder / "work"
    work.mkdir()
    shutil.chown(work, "nobody", "nogroup")
    run = "run", "control", "--target", "channel", "--runtime", "local", "--duration", "1"
    homeless = {"HOME": "/nonexistent", "LOSSMETER_CACHE": str(cache_root())}
    do(*as_nobody(environment / "bin" / "lossmeter", *run), cwd=work, **homeless)
    (made,) = (work / "results" / "runs").iterdir()
    assert made.owner() == "nobody"
