"""Progress of long work: lines in a log, a bar on a terminal, nothing where it is not wanted."""

import io
import logging

import pytest

from sbert import progress
from sbert.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_half_minute(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sbert")
    with Progress(4000, "pairs", shown=True) as bar:
        for _ in range(4):
            clock[0] += 20
            bar.update(500)
    # after 40 s and, half a minute later, after 80 s: 1,000 and 2,000 of them, 25 a second
    assert caplog.messages == [
        "1,000 of 4,000 pairs, 25.0/s, 120 s left",
        "2,000 of 4,000 pairs, 25.0/s, 80 s left",
    ]


def test_nothing_where_it_is_not_wanted(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sbert")
    with Progress(10, "texts", shown=False) as bar:
        clock[0] += 1000
        bar.update(5)
    assert not caplog.messages and bar.bar is None


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    with Progress(10, "texts", shown=True) as bar:
        bar.update(5)
        assert bar.bar is not None and bar.bar.n == 5
