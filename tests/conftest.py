"""Shared fixtures. Offline tests never see the data, caches or hub of whoever runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from train_process import SMALL, Result, Running, TrainRunner, server


def pytest_collection_finish(session: pytest.Session) -> None:
    """The server that train.py is forked from imports torch while the first tests do the same."""
    wanted = any("run_train" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        server()


OUTSIDE = {
    name: os.environ[name] for name in ("SBERT_DATA", "SBERT_CACHE", "SBERT_ANY_HASH") if name in os.environ
}


@pytest.fixture(scope="session", autouse=True)
def nothing_from_outside() -> Iterator[None]:
    """SBERT_DATA and its kin are hidden from every fixture and test, and the hub is not asked."""
    with pytest.MonkeyPatch.context() as patch:
        for name in OUTSIDE:
            patch.delenv(name)
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(autouse=True)
def outside_where_it_is_wanted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests marked ``oracle`` see SBERT_DATA, tests marked ``network`` the hub."""
    if request.node.get_closest_marker("oracle") is not None:
        for name, value in OUTSIDE.items():
            monkeypatch.setenv(name, value)
    if request.node.get_closest_marker("network") is not None:
        monkeypatch.delenv("HF_HUB_OFFLINE")


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT (width 32, two layers) with a tokenizer that knows the samples, usable as ``--model``."""
    from tiny_models import save_tiny  # imports torch, which tests of flags and data do without

    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture
def run_train(tmp_path: Path) -> TrainRunner:
    """``run_train("--flag", value, ...) -> (code, stdout, stderr)`` of train.py, in ``tmp_path``, on one thread."""
    return TrainRunner(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where mounting one is permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Running:
    """The run of ``finished`` in a new interpreter, started early because it takes seconds to import torch."""
    runner = TrainRunner(tmp_path_factory.mktemp("fresh"))
    return runner.start("--model", tiny_model_dir, *SMALL, "--output-dir", "run", "--seed", 7, fresh=True)


@pytest.fixture(scope="session")
def finished(
    fresh: Running, tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path
) -> tuple[Path, Result]:
    """A run that went to its end, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    result = TrainRunner(folder)("--model", tiny_model_dir, *SMALL, "--output-dir", "run", "--seed", 7)
    return folder / "run", result


@pytest.fixture
def run(finished: tuple[Path, Result], tmp_path: Path) -> Path:
    """A copy of the finished run, free to be damaged."""
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="session")
def whole(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a Dense and a Normalize."""
    import torch
    from tiny_models import WIDTH, tiny_model

    from heads.embedding import Dense, Normalize

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("whole") / "model"
    tiny_model(tiny_model_dir, layers=[Dense(WIDTH, 12), Normalize()]).save_pretrained(folder)
    return folder


@pytest.fixture
def saved(whole: Path, tmp_path: Path) -> Path:
    """A copy of ``whole``, to be damaged."""
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"
