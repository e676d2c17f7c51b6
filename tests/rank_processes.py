"""Several processes of one run as torchrun would start them, without waiting for torch in each."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train_process import FIXED, ROOT, Running, TrainRunner, server

TIMEOUT = 240  # seconds, of a busy machine


def told(count: int) -> list[dict[str, str]]:
    """The variables that each of so many processes finds, with a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    same = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**same, "RANK": str(r), "LOCAL_RANK": str(r)} for r in range(count)]


def together(count: int, work: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What ``work(*arguments)``, a function of a module, returns in each of so many processes, through JSON."""
    processes = []
    for r, variables in enumerate(told(count)):
        target = (work, str(folder / f"{r}.json"), {**FIXED, **variables}, arguments)
        processes.append(server().Process(target=_one, args=target))
        processes[-1].start()
    for process in processes:
        process.join(TIMEOUT)
        if process.exitcode is None:
            process.kill()
        assert process.exitcode == 0, f"a process ended with {process.exitcode}"
    return [json.loads((folder / f"{r}.json").read_text()) for r in range(count)]


def _one(work: Callable[..., Any], path: str, variables: dict[str, str], arguments: tuple[Any, ...]) -> None:
    os.environ.update(variables)
    os.chdir(ROOT)
    found = work(*arguments)
    Path(path).write_text(json.dumps(found))


def start_train(folder: Path, count: int, *arguments: object) -> list[Running]:
    """train.py in so many processes, each with a working directory of its own: paths must be absolute."""
    runners = [TrainRunner(folder / f"process-{r}") for r in range(count)]
    return [
        runner.start(*arguments, **variables) for runner, variables in zip(runners, told(count), strict=True)
    ]
