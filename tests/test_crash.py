"""The short form of python -m experiments.crash: a few kills of every job, each of which must end as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from train_process import server

from experiments.crash import process
from experiments.crash.process import Blow

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")


def crash(words: list[str]) -> None:
    """In a fork of the server, which has imported torch and computed nothing."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from experiments.crash.__main__ import main

    raise SystemExit(main(words))


def test_kills_are_survived(tmp_path: Path) -> None:
    """Index and table take longer: they are left to the command."""
    words = ["train", "encode", "download", "--kills", "2", "--output", str(tmp_path / "kills.json")]
    running = server().Process(target=crash, args=(words,))
    running.start()
    running.join(300)
    assert running.exitcode == 0
    made = json.loads((tmp_path / "kills.json").read_text())
    assert made["kills"] == made["survived"] >= 6 and made["half_written"] == 0
    assert set(made["jobs"]) == {"train-stages", "train-cross", "encode", "download"}
    for tally in made["jobs"].values():
        assert (
            tally["operations"] > 5
            and sum(tally["phases"].values()) == tally["kills"]
            and not tally["failures"]
        )


def write_twice() -> int:
    Path("one").write_text("1")
    Path("two").write_text("2")
    return 7


def test_a_blow_falls_before_the_operation_it_was_meant_for(tmp_path: Path) -> None:
    """Otherwise a kill proves nothing."""
    place = tmp_path / "a"
    place.mkdir()
    whole = process.run(write_twice, place)
    assert (whole.code, whole.operations) == (7, 2) and len(list(place.iterdir())) == 2
    for number, left in ((1, []), (2, ["one"])):
        place = tmp_path / str(number)
        place.mkdir()
        ended = process.run(write_twice, place, Blow(operation=number))
        assert ended.code is None and [path.name for path in place.iterdir()] == left


@pytest.mark.parametrize("alone", [False, True])
def test_a_blow_at_a_time_takes_children_with_it_or_leaves_them(tmp_path: Path, alone: bool) -> None:
    def job() -> int:
        pid = os.fork()
        if pid == 0:
            Path("forked").touch()
            time.sleep(seconds)
            Path("ended").touch()
            os._exit(0)
        return os.waitpid(pid, 0)[1]

    for seconds in (0.2, 0.8, 3.2):  # a busy machine takes its time
        ended = process.run(job, tmp_path, Blow(seconds=seconds / 2, alone=alone))
        if ended.code is None and (tmp_path / "forked").exists():
            break
    assert (tmp_path / "forked").exists() and (tmp_path / "ended").exists() == alone


def test_the_phase_is_the_one_of_the_innermost_function(tmp_path: Path) -> None:
    class Work:
        @staticmethod
        def outer() -> None:
            Work.inner()
            os.kill(os.getpid(), signal.SIGKILL)

        @staticmethod
        def inner() -> None:
            pass

    ended = process.run(lambda: Work.outer(), tmp_path, watch=((Work, "outer", "out"), (Work, "inner", "in")))
    assert ended.code is None and ended.phase == "out"
