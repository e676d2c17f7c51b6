"""Curves for TensorBoard. They are worth less than the run that they show: what keeps them from being written is told once,
and training goes on without them."""

import logging
import threading
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger("sbert")


class Curves:
    """Named numbers by update, written beside a run by TensorBoard's own thread."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """purge_step: what an interrupted run wrote from there on is not shown."""
        self.folder = folder
        self.writer: SummaryWriter | None = None
        self.hook, threading.excepthook = threading.excepthook, self._heard
        try:
            self.writer = SummaryWriter(str(folder), purge_step=purge_step)
        except OSError as error:
            self._give_up(error)

    def add(self, numbers: dict[str, float], update: int) -> None:
        if self.writer is None:
            return
        try:
            for name, value in numbers.items():
                if "/confusion/" not in name:
                    self.writer.add_scalar(name, value, update)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        try:
            if self.writer is not None:
                self.writer.flush()  # tells of a thread that has died; closing would wait for it
                self.writer.close()
        except OSError as error:
            self._give_up(error)
        finally:
            self.writer = None
            threading.excepthook = self.hook

    def _give_up(self, error: OSError) -> None:
        self.writer = None
        log.warning("%s: cannot be written: %s; no curves from here on", self.folder, error.strerror or error)

    def _heard(self, args: Any) -> None:
        """The writer's thread dies of a full disk with a traceback of its own; ``add`` and ``close`` hear of it as well."""
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__name__ == "_AsyncWriterThread"):
            self.hook(args)
