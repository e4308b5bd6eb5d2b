"""Whose a process is that wrote over its environment, as the children of PostgreSQL do."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lossmeter.world.ownership import Owner
from lossmeter.world.runtimes._processes import kill_marked, marked


@pytest.mark.parametrize("stopped", [False, True])
def test_one_without_an_environment_is_found_by_where_it_works(
    tmp_path: Path, stopped: bool
) -> None:
    ours = Owner.this_process("contract-by-folder")
    # That very process is gone: the same id, begun at another time.
    gone = replace(ours, start_ticks=1)
    folder = tmp_path / gone.folder_name / "data"
    folder.mkdir(parents=True)
    with subprocess.Popen(["/bin/sleep", "60"], cwd=folder, env={}) as process:
        try:
            if stopped:
                process.send_signal(signal.SIGSTOP)
            assert {owner for each, owner in marked() if each.pid == process.pid} == {gone}
            folder.rmdir()
            assert len(kill_marked(gone)) == 1
            assert process.wait(5) == -signal.SIGKILL
        finally:
            process.kill()


def test_one_with_an_environment_is_nobodys_for_where_it_works(tmp_path: Path) -> None:
    gone = replace(Owner.this_process("contract-by-folder"), start_ticks=1)
    folder = tmp_path / gone.folder_name
    folder.mkdir()
    # As the shell of somebody who looks at what is there.
    environment = {"PATH": os.environ["PATH"]}
    with subprocess.Popen(["/bin/sleep", "60"], cwd=folder, env=environment) as process:
        try:
            assert process.pid not in {each.pid for each, _ in marked()}
        finally:
            process.kill()
