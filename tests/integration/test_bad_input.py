"""Bad input gets one clear sentence, exit code 4 (or 3), and leaves nothing running."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter.errors import UnavailableError
from lossmeter.world.install.cache import cache_root
from lossmeter.world.ownership import Owner
from lossmeter.world.runtimes._state import state_folder
from tests.support.program import Done, left_behind, lossmeter

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
    _one_sentence(lossmeter(*arguments), 4, said)
    _nothing_started(project)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "channel"', "name = channel", "is not valid TOML"),
        ('services = ["postgres"]', 'services = ["postgre"]', "proxied names 'postgres'"),
        ('{postgres.url}"', '{postgress.url}"', "{postgress.url} is not known"),
        ('["{python}", "-P", "-m", "lossmeter_dispatcher"]', '["/no/such"]', "cannot be started"),
        ("from notice\n", "from notices\n", 'relation "notices" does not exist'),
        ("select producer, sequence, id", "select producer, id", "must return the column"),
    ],
)
def test_a_wrong_target_file(project: Path, old: str, new: str, said: str) -> None:
    done = lossmeter(*RUN, "--target", _edit(project, old, new))
    _one_sentence(done, 4, said)
    _nothing_started(project)
    assert left_behind(done.pid) == []


LESS = 'extends = "channel"\nname = "mine"\nstages = false\n'
TWO = """
name = "mine"
summary = "two processes"
ack_level = "broker"
services = ["postgres"]
[persisted]
query = "select 1 as producer, 2 as sequence"
[[process]]
name = "web"
command = ["{{python}}", "-m", "http.server", "{{port}}"]
[[process]]
name = "{name}"
command = ["sleep", "60"]
"""
CALL = '[ingress]\nkind = "python"\narguments = ["$producer", "$sequence"]\n'


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (f'{CALL}call = "nowhere:send"', "'nowhere:send' cannot be had: No module named 'nowhere'"),
        (f'{CALL}call = "json:send"', "'json:send' cannot be had: module 'json' has no attribute"),
        (f'{CALL}call = "json:__name__"', "json:__name__ cannot be called: it is str"),
        (
            '[ingress]\nkind = "program"\ncommand = ["sleep", "60"]\nready_s = 0.5',
            "did not say `ready` within 0.5 s (it said nothing)",
        ),
        (
            '[queue]\nkind = "sql"\nquery = "select count(*) from jobz"',
            'queue.query is not a query that works: relation "jobz" does not exist',
        ),
        (
            '[queue]\nkind = "sql"\nquery = "select 0"\npending = {query = "select 1 as producer"}',
            "queue.pending.query must return the column 'sequence'; it returns producer",
        ),
    ],
)
def test_what_only_the_started_servers_can_tell_is_said_before_any_event(
    project: Path, table: str, said: str
) -> None:
    (project / "mine.toml").write_text(LESS + table)
    done = lossmeter(*RUN, "--target", "mine.toml")
    _one_sentence(done, 4, said)
    _nothing_started(project)
    assert left_behind(done.pid) == []


def test_two_processes_of_one_name(project: Path) -> None:
    (project / "mine.toml").write_text(TWO.format(name="web"))
    done = lossmeter(*RUN, "--target", "mine.toml")
    _one_sentence(done, 4, "mine.toml", "process 'web' is there 2 times")
    assert not (project / "results" / "runs").exists()


def test_a_fault_on_an_unknown_process(project: Path) -> None:
    (project / "mine.toml").write_text(TWO.format(name="worker"))
    (project / "struck.toml").write_text(
        '[experiment]\nhypothesis = "x"\ntargets = ["mine.toml"]\n'
        "[load]\nrate_per_s = 40\nduration_s = 2\n[bounds]\nmax_lost = 0\n"
        '[[fault]]\nkind = "sigkill"\nat_s = 1\nparameters = {process = "wroker"}\n'
    )
    done = lossmeter("run", "struck.toml", "--runtime", "local")
    _one_sentence(done, 4, "process of target mine 'wroker' does not exist; did you mean 'worker'?")
    assert not (project / "results" / "runs").exists()


def test_a_target_that_ends_while_starting_says_why(project: Path) -> None:
    path = _edit(project, '"channel"\n\n[container]', '"chanel"\n\n[container]')
    done = lossmeter(*RUN, "--target", path)
    assert done.code == 3
    assert "ended with exit code 4 while starting" in done.err
    assert "Traceback" not in done.err
    assert left_behind(done.pid) == []


def test_a_port_in_use(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        path = _edit(project, "[start]\n", f"[start]\nport = {port}\n")
        done = lossmeter(*RUN, "--target", path)
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
    _one_sentence(lossmeter(*RUN, "--target", str(path)), 4, "nothing answers 200 on http://127")


def test_an_attached_dispatcher_cannot_be_killed(project: Path) -> None:
    path = project / "mine.toml"
    path.write_text(
        'name = "mine"\nsummary = "mine"\nack_level = "enqueued"\n'
        '[attach]\nurl = "http://127.0.0.1:1"\n'
        '[persisted]\ndatabase = "postgresql://x@127.0.0.1:1/x"\nquery = "select 1"\n'
    )
    done = lossmeter("run", "crash", "--runtime", "local", "--target", str(path))
    assert done.code == 5
    assert "skipped crash on mine: fault sigkill needs a target that is killable" in done.err


def test_wrong_budgets_are_named_with_their_file(project: Path) -> None:
    (project / "experiments" / "budgets.toml").write_text("[control.default]\nmax_lots = 1\n")
    _one_sentence(lossmeter(*RUN), 4, "budgets.toml", "max_lots")
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
    done = lossmeter(*RUN, "--target", "channel")
    _one_sentence(done, 3, "toxiproxy")
    _nothing_started(project)
