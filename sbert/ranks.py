"""Which of the processes that torchrun started this one is; without torchrun, the first and only one.

Torch-free, for it is asked before torch is imported. What processes say to one another: sbert/distributed.py.
"""

import os
import time

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # what torchrun tells every process


def _told(name: str, alone: int) -> int:
    return int(os.environ[name]) if all(other in os.environ for other in NAMES) else alone


def rank() -> int:
    """The number of this process among all, from 0."""
    return _told("RANK", 0)


def local_rank() -> int:
    """Its number among those of this machine, from 0."""
    return _told("LOCAL_RANK", 0)


def count() -> int:
    """How many processes there are on all machines."""
    return _told("WORLD_SIZE", 1)


def is_first() -> bool:
    """The first process alone writes files, shows progress and prints."""
    return rank() == 0


def wait_for_the_first(seconds: float = 2.0) -> None:
    """torchrun ends all processes when one has ended: the first, which alone says what is wrong, needs a moment for it."""
    if not is_first():
        time.sleep(seconds)
