"""SIGINT and SIGTERM, taken at a moment when a checkpoint can be written."""

import signal
from types import FrameType
from typing import Any


class SignalGuard:
    """Turns the first SIGINT or SIGTERM into a note for the loop; a second one acts at once."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        signal.signal(signum, self._before[signum])

    def __enter__(self) -> "SignalGuard":
        for signum in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[signum] = signal.signal(signum, self._note)
            except ValueError:  # not in the main thread: then nobody sends us signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
