"""Bad input gets one clear sentence, exit code 4 (or 3), and leaves nothing running."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cache import cache_root
from harness.errors import UnavailableError
from harness.ownership import Owner
from harness.runtimes._state import state_folder
from tests.integration.conftest import Done, harness, left_behind

RUN = ("run", "control", "--runtime", "local")


def _one_sentence(done: Done, code: int, *said: str) -> None:
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error:")]
    for words in said:
        assert words in line


def _nothing_started(project: Path) -> None:
    assert not list(project.glob("results/runs/*/journal-*"))


def _edit(project: Path, old: str, new: str) -> str:
    """Write ``mine.toml``: the channel target with one thing changed."""
    text = (project / "targets" / "channel.toml").read_text()
    assert old in text
    path = project / "mine.toml"
    path.write_text(text.replace(old, new))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "crahs"), "experiment 'crahs' does not exist; did you mean 'crash'?"),
        (("run", "crash", "--target", "chanel"), "did you mean 'channel'?"),
        (("run", "crash", "--target", "./none.toml"), "target file none.toml does not exist"),
        (("run", "crash", "--variant", "ful"), "did you mean 'full'?"),
        (("run", "crash", "--runtime", "cloud"), "runtime 'cloud' does not exist"),
        (("run", "crash", "--seed", "-1"), "--seed"),
        (("run", "crash", "--sed", "1"), "No such option"),
        (("run",), "Missing argument"),
        (("report", "nowhere"), "run 'nowhere' does not exist"),
        (("report",), "holds no run yet"),
        (("plan", "--rate", "-5"), "rate"),
        (("plan", "--rate", "200", "--workers", "0"), "workers"),
    ],
)
def test_a_wrong_command_line(project: Path, arguments: tuple[str, ...], said: str) -> None:
    _one_sentence(harness(*arguments), 4, said)
    _nothing_started(project)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "channel"', "name = channel", "is not valid TOML"),
        ('services = ["postgres"]', 'services = ["postgre"]', "proxied names 'postgres'"),
        ('{postgres.url}"', '{postgress.url}"', "{postgress.url} is not known"),
        ('["{python}", "-m", "targets.dispatcher"]', '["/no/such/program"]', "cannot be started"),
        ("from notice\n", "from notices\n", 'relation "notices" does not exist'),
        ("select producer, sequence, id", "select producer, id", "must return the column"),
    ],
)
def test_a_wrong_target_file(project: Path, old: str, new: str, said: str) -> None:
    done = harness(*RUN, "--target", _edit(project, old, new))
    _one_sentence(done, 4, said)
    _nothing_started(project)
    assert left_behind(done.pid) == []


def test_a_target_that_ends_while_starting_says_why(project: Path) -> None:
    path = _edit(project, '"channel"\n\n[container]', '"chanel"\n\n[container]')
    done = harness(*RUN, "--target", path)
    assert done.code == 3
    assert "ended with exit code 4 while starting" in done.err
    assert "Traceback" not in done.err
    assert left_behind(done.pid) == []


def test_a_port_in_use(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        path = _edit(project, "[start]\n", f"[start]\nport = {port}\n")
        done = harness(*RUN, "--target", path)
    _one_sentence(done, 4, f"start.port {port} on 127.0.0.1 is in use")
    assert left_behind(done.pid) == []


def test_an_attached_dispatcher_that_does_not_answer(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = project / "mine.toml"
    path.write_text(
        'name = "mine"\nsummary = "mine"\nack_level = "enqueued"\n'
        f'[attach]\nurl = "http://127.0.0.1:{port}"\n'
        '[persisted]\ndatabase = "postgresql://x@127.0.0.1:1/x"\nquery = "select 1"\n'
    )
    _one_sentence(harness(*RUN, "--target", str(path)), 4, "nothing answers 200 on http://127")


def test_an_attached_dispatcher_cannot_be_killed(project: Path) -> None:
    path = project / "mine.toml"
    path.write_text(
        'name = "mine"\nsummary = "mine"\nack_level = "enqueued"\n'
        '[attach]\nurl = "http://127.0.0.1:1"\n'
        '[persisted]\ndatabase = "postgresql://x@127.0.0.1:1/x"\nquery = "select 1"\n'
    )
    done = harness("run", "crash", "--runtime", "local", "--target", str(path))
    assert done.code == 5
    assert "skipped crash on mine: fault sigkill needs a target that is killable" in done.err


def test_wrong_budgets_are_named_with_their_file(project: Path) -> None:
    (project / "experiments" / "budgets.toml").write_text("[control.default]\nmax_lots = 1\n")
    _one_sentence(harness(*RUN), 4, "budgets.toml", "max_lots")
    _nothing_started(project)


def test_no_disk_space(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    full = type(usage)(usage.total, usage.total, 10 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(UnavailableError, match=r"has 10 MiB free, and a run needs 500 MiB"):
        state_folder(Owner.this_process("full"), "local")
    assert not list((cache_root() / "state" / "local").glob("full-*"))


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that an unprivileged user can enter, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("LOSSMETER_CACHE", str(folder))
        yield folder


@pytest.mark.usefixtures("empty_cache")
def test_a_missing_server_is_named_when_it_cannot_be_had(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No way to the module proxy, as on a machine without a network.
    monkeypatch.setenv("GOPROXY", "off")
    done = harness(*RUN, "--target", "channel")
    _one_sentence(done, 3, "toxiproxy")
    _nothing_started(project)
