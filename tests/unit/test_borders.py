"""Files and options from outside: whatever they hold, one sentence and a documented exit code."""

from __future__ import annotations

import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossmeter import cli
from lossmeter.errors import ExitCode, UsageError
from lossmeter.plan.budget import load_budgets
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.plan.tables import DEEPEST, read_tables
from lossmeter.plan.target import load_target
from lossmeter.record.files import append_output, check_output, read_bytes, write_output
from lossmeter.studies.worked import read_numbers
from tests.support.typed import typed

KEYS = st.sampled_from(
    ["name", "persisted", "extends", "start", "http", "number", "crash", "default", "max_lost",
     "targets", "runs", "settings", "a" * 300, "ü", "behaviour", "workers", "x y"]
)  # fmt: skip
SCALARS = st.one_of(
    st.integers().map(str),
    st.integers(1, 6000).map(lambda digits: "9" * digits),
    st.sampled_from(["nan", "-inf", "1e400", "true", "1979-05-27", "''", "[]", "{}", '"\\u0000"']),
    st.integers(1, 2000).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(1, 400).map(lambda depth: "{a=" * depth + "1" + "}" * depth),
    st.text(max_size=9).map(repr),
)
LINES = st.one_of(
    st.tuples(KEYS, SCALARS).map(lambda pair: f'"{pair[0]}" = {pair[1]}'),
    KEYS.map(lambda key: f'["{key}"]'),
    KEYS.map(lambda key: f'[["{key}"]]'),
    st.tuples(KEYS, st.integers(1, 1500)).map(lambda p: "[" + ".".join([f'"{p[0]}"'] * p[1]) + "]"),
)
FILES = st.one_of(
    st.lists(LINES, max_size=6).map("\n".join).map(str.encode), st.binary(max_size=60)
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_a_file_of_any_content_is_taken_or_refused_in_one_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "lossmeter.toml"
        path.write_bytes(content)
        for read in (load_target, load_budgets, read_numbers, lambda p: Project.of(p.parent)):
            try:
                read(path)
            except UsageError as error:
                assert "\n" not in str(error)  # noqa: PT017 - it need not raise


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "[" * 1500 + "]" * 1500, f"is nested deeper than {DEEPEST} tables"),
        ("[" + ".".join("a" * 1500) + "]", f"is nested deeper than {DEEPEST} tables"),
        ("x = " + "9" * 5000, "is not valid TOML"),
        ("[a]\nx = " + "9" * 30, "[a] x is not a finite number of 64 bits"),
        ("[a]\nx = 1e400", "[a] x is not a finite number of 64 bits"),
        ("x = nan", "x is not a finite number of 64 bits"),
    ],
)
def test_what_would_fail_deep_inside_is_refused_when_it_is_read(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_tables(path)
    assert said in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "fifo.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "long.toml").symlink_to("n" * 250)
    for name, said in (
        ("fifo.toml", "cannot be read: it is no regular file"),
        ("folder.toml", "cannot be read: it is no regular file"),
        ("fifo.toml/x.toml", "does not exist"),
        ("n" * 300 + ".toml", "cannot be read: File name too long"),
        ("long.toml", "does not exist"),
    ):
        with pytest.raises(UsageError, match=said):
            load_target(tmp_path / name)


NUMBERS = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(
        ["1e400", "-1e400", "nan", "9" * 5000, "0x1", "1e9", "1_0", "", " ", "½", "-0"]
    ),
)
OPTIONS = ("--rate", "--workers", "--handler-time", "--capacity", "--push-timeout", "--grace",
           "--queued")  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(OPTIONS), NUMBERS)
def test_a_number_of_any_size_is_predicted_for_or_refused(
    capsys: pytest.CaptureFixture[str], option: str, number: str
) -> None:
    rate = () if option == "--rate" else ("--rate", "200")
    done = typed(capsys, "plan", *rate, f"{option}={number}")
    assert done.code in {0, 4}, done.err
    assert "Traceback" not in done.err
    assert (done.code == 0) == (not done.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "--max-age-h", "1e400"),
        ("gate", "--max-age-h", "1e9"),
        ("gate", "--max-age-h", "nan"),
        ("run", "control", "--seed", "9" * 5000),
        ("run", "control", "--repeat", "0"),
        ("run", "control", "--monitor-factor", "nan", "--monitor"),
        ("run", "a" * 300),
        ("run", "a" * 300 + ".py"),
        ("run", "control", "--target", "a" * 300 + ".toml"),
        ("run", "control", "--json", "a" * 300),
        ("run", "control", "--json", "/"),
        ("run", "control", "--json", "/nowhere/x.json"),
        ("run", "\udcff\udcfe"),
        ("capacity", "channel", "--most", "inf"),
        ("capacity", "channel", "--start", "nan"),
        ("capacity", "channel", "--start", "0.1"),
        ("search", "crash", "--limit-s", "1e300"),
        ("report", "a" * 300),
        ("compare", "a/" * 3000),
    ],
)
def test_options_that_no_command_can_use(
    capsys: pytest.CaptureFixture[str], project: Path, arguments: tuple[str, ...]
) -> None:
    done = typed(capsys, *arguments)
    assert done.code == 4, done.err
    assert "Traceback" not in done.err
    assert done.err.strip()
    assert not (project / "results").exists()


def test_the_gravest_code_decides() -> None:
    order = [2, 4, 3, 5, 7, 1, 0]
    codes = [ExitCode(number) for number in order]
    assert set(codes) == set(ExitCode)
    for place, code in enumerate(codes):
        assert ExitCode.gravest(codes[place:]) is code
        assert ExitCode.gravest(reversed(codes[place:])) is code
    assert ExitCode.gravest([]) is ExitCode.NOTHING_JUDGED


def test_a_short_file_is_read_in_little_memory(tmp_path: Path) -> None:
    """Input 872 of the fuzz script: a page of 2 KiB was read into room for 256 MiB."""
    file = tmp_path / "facts.json"
    file.write_bytes(b"{}")
    tracemalloc.start()
    try:
        assert read_bytes(file) == b"{}"
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    with pytest.raises(OSError, match="longer than 1 byte"):
        read_bytes(file, most=1)


def test_half_a_surrogate_costs_no_output(tmp_path: Path) -> None:
    file = tmp_path / "out"
    write_output(file, "a\udcff")
    append_output(file, "b\udcff")
    assert file.read_bytes() == b"a?b?"


def test_an_output_that_cannot_be_is_known_beforehand(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("no/where")
    assert check_output(link) == "No such file or directory"
    (tmp_path / "no").mkdir()
    assert check_output(link) is None
    write_output(link, "x")
    assert (tmp_path / "no" / "where").read_text() == "x"
    # As long as a name may be, so that nothing can be added to it on the way.
    for name in ("x" * 255, "ä" * 127):
        assert check_output(tmp_path / name) is None
        write_output(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


def test_too_little_memory_is_said_in_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs_more(**_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cli, "app", needs_more)
    done = typed(capsys, "history")
    assert done.code == ExitCode.HARNESS_ERROR
    assert done.err.startswith("error: there is too little memory")
    assert "Traceback" not in done.err


def test_a_mark_of_the_order_of_bytes_does_no_harm(project: Path) -> None:
    mark = b"\xef\xbb\xbf"
    budgets = project / "experiments" / "budgets.toml"
    budgets.write_bytes(mark + b"[crash.default]\r\nmax_lost = 9\r\n")
    found = load_budgets(budgets).find("crash", "", "channel")
    assert found is not None
    assert found.max_lost == 9
    (project / "targets" / "own.toml").write_bytes(mark + b'extends = "channel"\nname = "own"\n')
    assert Catalogue.here().target("own").name == "own"
