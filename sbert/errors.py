"""The ways a run can end early on purpose. Each is printed as one line; none shows a traceback."""

import signal
from pathlib import Path


class UsageError(Exception):
    """Wrong, unknown or contradictory flags: exit code 2, before anything is loaded."""


class RunError(Exception):
    """Files, weights, disk, numbers: exit code 1."""


class Interrupted(Exception):
    """SIGINT or SIGTERM, with the checkpoint on disk: exit code 128 + the signal's number."""

    def __init__(self, signum: int, update: int, run: Path | None) -> None:
        self.signum, self.update, self.run = signum, update, run
        super().__init__(f"{signal.Signals(signum).name} at update {update}")
