"""From an empty repository with a Celery application to its first table, by three commands."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.support.program import Running

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "targets" / "frameworks" / "celery-redis" / "tasks.py"


def test_init_check_and_the_first_table(tmp_path: Path) -> None:
    shutil.copy(TASKS, tmp_path)
    (tmp_path / "requirements.txt").write_text("celery[redis]\npsycopg\n")
    # The application's own interpreter and programs are found as in an activated environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def do(*words: str) -> str:
        done = Running(*words, environment={"PATH": path}, folder=tmp_path).end(200)
        assert done.code == 0, done.out + done.err
        return done.out

    assert "next: lossmeter check celery" in do("init", "--table", "notice")
    assert "right: each acked event was found again by its id" in do(
        "check", "celery", "--runtime", "local"
    )
    table = do("run", "control", "--target", "celery", "--runtime", "local", "--duration", "1")
    assert "80     80        0        0     0" in table
    assert (tmp_path / "loss" / "results" / "runs").is_dir()
