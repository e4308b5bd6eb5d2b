"""The pages of recorded runs: read-only, and closed to everybody but this machine."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.recorded_runs import plain_budgets, record

NAME = "20260101T000000Z-crash-1"
SECRET = "what nobody may read"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    project = tmp_path_factory.mktemp("served")
    for folder in ("experiments", "targets"):
        (project / folder).mkdir()
    plain_budgets(project)
    record(project, NAME, lost=3)
    record(project, "20260102T000000Z-crash-1", target="<script>alert(1)</script>")
    (record(project, "20260103T000000Z-crash-1") / "facts.json").unlink()
    (project / "results" / "secret-file").write_text(SECRET)
    outside = project / "outside-folder"
    record(project, "20260104T000000Z-crash-1").rename(outside)
    (project / "results" / "runs" / "linked-run").symlink_to(outside)
    process = subprocess.Popen(
        [sys.executable, "-m", "lossmeter.cli", "serve"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield Served(process, process.stdout.readline().strip())
    process.kill()
    process.communicate()


class Served:
    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url

    def ask(self, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str]:
        """Send a path as it is: nothing normalises it on the way."""
        address = urlsplit(self.url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or address.netloc)
        connection.endheaders()
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text


def test_the_index_and_the_pages_of_runs(served: Served) -> None:
    status, text = served.ask("/")
    assert status == 200
    assert f'href="/runs/{NAME}"' in text
    assert "20260103T000000Z-crash-1: " in text
    status, text = served.ask(f"/runs/{NAME}")
    assert status == 200
    assert "lost 3 is above the budget of 0" in text
    assert '<a href="/">All runs</a>' in text
    assert '<a href="/">All runs</a>' in served.ask("/runs/no-such-run")[1]
    status, text = served.ask("/?target=channel")
    assert status == 200
    assert "20260102T000000Z-crash-1" not in text
    assert "that fits" in served.ask("/?experiment=nothing")[1]


def test_what_comes_from_runs_is_never_markup(served: Served) -> None:
    for path in ("/", "/runs/20260102T000000Z-crash-1", "/runs/%3Cscript%3E", "/?target=<script>"):
        text = served.ask(path)[1]
        assert "<script>alert" not in text
        assert "<script>" not in re.sub(r"<script>[^<]*</script>", "", text)


@pytest.mark.parametrize(
    "path",
    [
        "/runs/../secret-file",
        "/runs/..%2Fsecret-file",
        "/runs/%2e%2e/secret-file",
        "/runs/..",
        "/runs/.",
        "/runs/linked-run",
        "/../../../etc/passwd",
        "//etc/passwd",
        "/runs/20260104T000000Z-crash-1",
        "/runs/20260103T000000Z-crash-1",
        f"/runs/{NAME}/facts.json",
        f"/runs/{NAME}%00",
    ],
)
def test_only_whole_runs_of_the_folder_are_shown(served: Served, path: str) -> None:
    status, text = served.ask(path)
    assert status == 404
    assert SECRET not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "0.0.0.0:80", "[::1]"])
def test_other_hosts_are_refused(served: Served, host: str) -> None:
    status, text = served.ask("/", host=host)
    assert status == 400
    assert NAME not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(served: Served, method: str) -> None:
    assert served.ask(f"/runs/{NAME}", method)[0] == 405


def test_it_listens_on_loopback_only_and_forbids_foreign_content(served: Served) -> None:
    listening = [
        c.laddr
        for c in psutil.Process(served.process.pid).net_connections()
        if c.status == psutil.CONN_LISTEN
    ]
    assert [address.ip for address in listening] == ["127.0.0.1"]
    with urllib.request.urlopen(served.url) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_port_in_use_is_named(served: Served) -> None:
    port = str(urlsplit(served.url).port)
    done = subprocess.run(
        [sys.executable, "-m", "lossmeter.cli", "serve", "--port", port],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 4
    assert f"--port {port} on 127.0.0.1 cannot be used" in done.stderr


def test_an_interrupt_is_its_normal_end(served: Served) -> None:
    served.process.send_signal(signal.SIGINT)
    _, reported = served.process.communicate(timeout=60)
    assert served.process.returncode == 0
    assert "Traceback" not in reported
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(served.url, timeout=5)
