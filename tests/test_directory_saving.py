"""Saving that fails or is cut leaves the directory that was there before."""

from __future__ import annotations

import copy
import errno
import itertools
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from train_process import contents, fill

import sbert.directory
import sbert.encoder
from heads.embedding import Normalize
from sbert.atomic import atomic_directory, settle
from sbert.encoder import load_encoder
from sbert.errors import RunError
from sbert.model import modelWithPooling

# ---------------------------------------------------------------- saving that fails


def other_weights(model: modelWithPooling) -> modelWithPooling:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    return model


@pytest.mark.parametrize("failing_call", [1, 3, 6])
def test_a_full_disk_leaves_the_old_directory(
    saved: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    before, calls = contents(saved.parent), itertools.count(1)
    genuine = sbert.directory._write_json

    def write_json(path: Path, value: Any) -> None:
        if next(calls) == failing_call:
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(path, value)

    model = other_weights(modelWithPooling.from_pretrained(saved))
    monkeypatch.setattr(sbert.directory, "_write_json", write_json)
    with pytest.raises(RunError) as caught:
        model.save_pretrained(saved)
    assert str(caught.value) == (
        f"{saved}: cannot be saved: No space left on device; what was there before is untouched"
    )
    assert contents(saved.parent) == before
    monkeypatch.undo()
    model.save_pretrained(saved)  # and when there is room again, it is replaced
    assert contents(saved)["model.safetensors"] != before["model/model.safetensors"]
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_an_interrupt_leaves_the_old_directory(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, value: Any) -> None:
        raise KeyboardInterrupt

    before = contents(saved.parent)
    model = other_weights(modelWithPooling.from_pretrained(saved))
    monkeypatch.setattr(sbert.directory, "_write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(saved)
    assert contents(saved.parent) == before


@pytest.mark.parametrize("writer", ["weights", "tokenizer", "description"])
def test_each_writer_at_the_limit_of_a_file_size(
    saved: Path, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real failing system call (file size limit) in the writers of weights, of the tokenizer, of JSON."""
    before = contents(saved.parent)
    model = other_weights(modelWithPooling.from_pretrained(saved))
    limit = {"weights": 10_000, "tokenizer": 20_000, "description": 100}[writer]
    if writer != "weights":
        monkeypatch.setattr(model.model, "save_pretrained", lambda folder: None)
    if writer == "description":
        monkeypatch.setattr(type(model.tokenizer), "save_pretrained", lambda tokenizer, folder: None)
        monkeypatch.setattr("sbert.model.set_tokenizer_limit", lambda folder, limit: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(RunError) as caught:
            model.save_pretrained(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = str(caught.value)
    assert message.startswith(f"{saved}: cannot be saved: ") and "\n" not in message
    assert contents(saved.parent) == before


@pytest.mark.parametrize("room", [0, 102_400, 327_680])
def test_a_really_full_disk(small_disk: Path, tiny_model_dir: Path, room: int) -> None:
    """With no room for anything, for a part of the weights, and for all of the weights but not the tokenizer."""
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    model.save_pretrained(small_disk / "model")
    before = contents(small_disk)
    fill(small_disk, room)
    with pytest.raises(RunError) as caught:
        other_weights(model).save_pretrained(small_disk / "model")
    message = str(caught.value)
    assert message.startswith(f"{small_disk}/model: cannot be saved: ") and "\n" not in message
    (small_disk / "ballast").unlink()
    assert contents(small_disk) == before


# ---------------------------------------------------------------- the two renames


def test_settle_brings_the_old_directory_back(saved: Path) -> None:
    """The process died after the old directory was set aside and before the new one took its name."""
    before = contents(saved)
    old = saved.parent / ".model.old"
    saved.rename(old)
    settle(saved)
    assert contents(saved) == before and not old.exists()


def test_settle_drops_the_old_directory_when_the_new_one_has_arrived(saved: Path) -> None:
    before = contents(saved)
    old = saved.parent / ".model.old"
    shutil.copytree(saved, old)
    (old / "config.json").write_text("old")
    settle(saved)
    assert contents(saved) == before and not old.exists()


@pytest.mark.parametrize("relative", [True, False])
def test_loading_settles_a_replacement_that_was_cut(
    saved: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    before = contents(saved)
    saved.rename(saved.parent / ".model.old")
    monkeypatch.chdir(saved.parent)
    assert modelWithPooling.from_pretrained("model" if relative else saved).width == 12
    assert contents(saved) == before and [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_replacement_that_cannot_be_settled(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sbert.encoder, "settle", refuse)
    with pytest.raises(RunError, match=r"^model .*/gone: cannot be looked up: Permission denied$"):
        modelWithPooling.from_pretrained(saved.parent / "gone")


def test_saving_changes_nothing_in_the_model(tiny_model_dir: Path, tmp_path: Path) -> None:
    """A limit that nobody set stays unset, and follows the tokenizer; a layer added later is written."""
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    model.layers.append(Normalize())
    before = copy.deepcopy(model.description)
    model.save_pretrained(tmp_path / "m")
    assert model.description == before and before.max_length is None and before.layers == []
    assert len(modelWithPooling.from_pretrained(tmp_path / "m").layers) == 1


def test_settle_has_nothing_to_do(saved: Path) -> None:
    before = contents(saved.parent)
    settle(saved)
    settle(saved.parent / "nowhere")
    assert contents(saved.parent) == before


def test_a_failing_second_rename_brings_the_old_directory_back(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    before, calls = contents(saved.parent), itertools.count(1)
    genuine = os.rename

    def rename(source: Any, target: Any) -> None:
        if next(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        genuine(source, target)

    model = other_weights(modelWithPooling.from_pretrained(saved))
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(RunError, match="Input/output error; what was there before is untouched"):
        model.save_pretrained(saved)
    assert contents(saved.parent) == before


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    target = tmp_path / "target"
    leftover = tmp_path / ".target.tmp"
    leftover.mkdir()
    (leftover / "half").write_text("x")
    old = tmp_path / ".target.old"
    old.mkdir()
    (old / "kept").write_text("old")
    with atomic_directory(target, ("kept",)) as folder:
        assert (target / "kept").read_text() == "old"  # the cut replacement was undone first
        (folder / "new").write_text("new")
    assert contents(tmp_path).keys() == {"target/new"}


def test_saving_into_a_place_that_is_a_file(tiny_model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    with pytest.raises(RunError, match="cannot be saved"):
        model.save_pretrained(tmp_path / "file" / "model")
    assert (tmp_path / "file").read_text() == "here"


def test_saving_needs_a_tokenizer(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = modelWithPooling(load_encoder(tiny_model_dir))
    with pytest.raises(RunError, match="needs the tokenizer"):
        model.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()
