"""How far long work has come: a bar on a terminal, a plain line every half minute in a log."""

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger("sbert")
SECONDS = 30.0  # between two lines of a log


class Progress:
    """``with Progress(total, "texts", shown=True) as progress: ... progress.update(n)``. Not shown: it says nothing."""

    def __init__(self, total: int, unit: str, *, shown: bool) -> None:
        self.total, self.unit, self.done = total, unit, 0
        on_terminal = shown and sys.stderr.isatty()
        self.bar = tqdm(total=total, unit=f" {unit}", leave=False) if on_terminal else None
        self.lines = shown and not on_terminal
        self.started = self.last = time.monotonic()

    def update(self, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        now = time.monotonic()
        if self.lines and now - self.last >= SECONDS and self.done:
            rate = self.done / (now - self.started)
            left = (self.total - self.done) / rate
            log.info(
                "%s of %s %s, %.1f/s, %.0f s left", f"{self.done:,}", f"{self.total:,}", self.unit, rate, left
            )
            self.last = now

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
