"""Full disks, read-only folders, data that is gone, a second run in the same place: one line, and nothing lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from train_process import ROOT, SMALL, STS_HEADER, Result, TrainRunner, contents, own, said, same_numbers

from data.files import sha256_of, write_text_atomically
from sbert.atomic import atomic_directory
from sbert.checkpoint import prune
from sbert.errors import RunError
from sbert.lock import FolderLock

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resource limits as Linux has them")


@linux
@pytest.mark.parametrize(
    ("size", "words"),
    [
        (600, "run/config.json: cannot be written: File too large"),
        (60_000, "run/model: cannot be saved: "),
        (400_000, "run/checkpoints/update-00000006: cannot be saved: "),
    ],
)
def test_no_room(
    run_train: TrainRunner,
    tiny_model_dir: Path,
    tmp_path: Path,
    finished: tuple[Path, Result],
    size: int,
    words: str,
) -> None:
    """For config.json; for the model; for a checkpoint. With room again, the run goes on and ends as any other."""
    from limits import limited

    flags = ("--model", tiny_model_dir, *SMALL, "--output-dir", "run", "--seed", 7)
    line = said(limited(tmp_path, size, *flags), 1)
    assert words in line and line.endswith("what was there before is untouched")
    assert not list((tmp_path / "run").rglob(".*"))
    again = run_train(*(("--resume", "run") if (tmp_path / "run/config.json").exists() else flags))
    assert again.code == 0, again.stderr
    assert same_numbers(tmp_path / "run") == same_numbers(finished[0])
    weights = [sha256_of(run / "model/model.safetensors") for run in (tmp_path / "run", finished[0])]
    assert weights[0] == weights[1]


@linux
@pytest.mark.parametrize("place", ["", "run/checkpoints"])
def test_a_read_only_folder(tiny_model_dir: Path, run: Path, tmp_path: Path, place: str) -> None:
    from limits import without_privileges

    (tmp_path / "stdout").touch()
    (tmp_path / "stderr").touch()
    flags = ("--resume", "run") if place else ("--model", tiny_model_dir, *SMALL, "--output-dir", "other/run")
    if place:  # all but the last checkpoint is as it was before the last update
        for path in (run / "checkpoints").iterdir():
            path.rename(run.parent / path.name)
    else:
        (tmp_path / "other").mkdir()
    before, closed = contents(run), tmp_path / (place or "other")
    closed.chmod(0o555)
    try:
        line = said(without_privileges(tmp_path, *flags), 1)
    finally:
        closed.chmod(0o755)
    assert "Permission denied" in line and str(place or "other") in line
    after = contents(run)
    if place:
        kept = {name: sha for name, sha in before.items() if name.startswith(("model/", "metrics.json"))}
        assert {name: after[name] for name in kept} == kept
    else:
        assert after == before and not list(closed.iterdir())


def test_a_set_that_vanished(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    flags = own(STS_HEADER + "".join(f"the man {i}\tthe park\t0.{i}\n" for i in range(8)))(tmp_path)
    assert run_train("--model", tiny_model_dir, *SMALL, *flags, "--output-dir", "run").code == 0
    before = contents(tmp_path / "run")
    (tmp_path / "mine.tsv").unlink()
    assert said(run_train("--resume", "run"), 1).startswith("mine.tsv: cannot be read (No such file")
    assert contents(tmp_path / "run") == before


# ---------------------------------------------------------------- one writer


def test_a_second_run_in_the_same_directory(run_train: TrainRunner, run: Path) -> None:
    before = contents(run)
    lock = FolderLock(run)
    line = said(run_train("--resume", "run"), 1)
    assert line == "run: another process is writing there: wait for it, or choose another folder"
    assert contents(run) == before
    lock.close()
    assert run_train("--resume", "run").code == 0


def test_of_several_processes_only_the_first_holds_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sbert.run import RunDirectory

    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    first.lock()
    monkeypatch.setattr("sbert.run.ranks.is_first", lambda: False)
    second.lock()
    assert first.held is not None and second.held is None


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\nfrom sbert.lock import FolderLock\n"
    code += f"lock = FolderLock(Path({str(tmp_path)!r}))\nprint('held', flush=True)\ninput()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdin is not None and holder.stdout.readline() == b"held\n"
    with pytest.raises(RunError, match="another process is writing there"):
        FolderLock(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = FolderLock(tmp_path)
    assert lock.still_names(tmp_path) and list(tmp_path.iterdir()) == []
    holder.stdin.close()
    holder.stdout.close()


def test_a_second_writer_of_a_directory_harms_nothing(tmp_path: Path) -> None:
    """Before there was a lock, the second one emptied the folder that the first was writing into."""
    with atomic_directory(tmp_path / "model", ("mark",)) as first:
        (first / "mark").write_text("1")
        with (
            pytest.raises(RunError, match="another process is writing there"),
            atomic_directory(tmp_path / "model", ("mark",)),
        ):
            pytest.fail("two writers")
        assert (first / "mark").read_text() == "1"
    assert contents(tmp_path).keys() == {"model/mark"}
    with atomic_directory(tmp_path / "model", ("mark",)) as again:  # and it is free afterwards
        (again / "mark").write_text("2")
    assert (tmp_path / "model/mark").read_text() == "2"


def test_a_lock_of_a_folder_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lock = FolderLock(folder)
    assert lock.still_names(folder)
    folder.rename(tmp_path / "moved")
    assert not lock.still_names(folder)
    folder.mkdir()
    assert not lock.still_names(folder)


def test_no_lock_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="gone: cannot be opened: No such file"):
        FolderLock(tmp_path / "gone")


# ---------------------------------------------------------------- pieces


def test_pruning_leaves_no_half_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in the middle of removing the files, nothing called update-00000001 is left; the next pruning sweeps the rest."""
    for number in (1, 2, 3):
        (tmp_path / f"update-{number:08d}").mkdir()
        (tmp_path / f"update-{number:08d}/state.pt").write_bytes(b"x")
    (tmp_path / ".update-00000004.tmp").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("sbert.atomic.shutil.rmtree", lambda *a, **b: None)
        prune(tmp_path, 2)
    assert {path.name for path in tmp_path.glob("update-*")} == {"update-00000002", "update-00000003"}
    assert (tmp_path / ".update-00000001.gone").exists()
    prune(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["update-00000003"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_failing_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The last moment at which it can fail: when the bytes are flushed to the disk."""
    path = tmp_path / "metrics.json"
    write_text_atomically(path, "old")

    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("data.files.os.fsync", full)
    with pytest.raises(OSError, match=os.strerror(code)):
        write_text_atomically(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["metrics.json"]
