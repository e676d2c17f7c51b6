"""Curves are written beside a run, and a run goes on without them."""

import logging
import threading
from pathlib import Path

import pytest

from sbert.curves import Curves


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_what_is_added_is_there(tmp_path: Path) -> None:
    hook = threading.excepthook
    curves = Curves(tmp_path / "curves")
    for update in (1, 2):
        curves.add({"train/loss": 1 / update, "dev/confusion/0/1": 3.0}, update)
    curves.close()
    assert points(tmp_path / "curves") == {"train/loss": [(1, 1.0), (2, 0.5)]}
    assert threading.excepthook is hook


def test_a_full_disk_ends_the_curves_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING, logger="sbert")
    hook = threading.excepthook
    curves = Curves(tmp_path / "curves")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    assert curves.writer is not None
    events = curves.writer._get_file_writer().event_writer._async_writer
    events._writer.write = full
    for update in range(200):
        curves.add({"train/loss": 1.0}, update)
    events._worker.join(10)
    curves.add({"train/loss": 1.0}, 200)
    curves.close()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"{tmp_path / 'curves'}: cannot be written: No space left on device; no curves from here on"
    ]
    assert "Traceback" not in capsys.readouterr().err and threading.excepthook is hook


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("here")
    curves = Curves(tmp_path / "file" / "curves")
    curves.add({"train/loss": 1.0}, 1)
    curves.close()
    assert "no curves from here on" in caplog.text
