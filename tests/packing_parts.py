"""Texts of mixed lengths, for the tests of unpadded batches."""

import itertools
from typing import Any

import numpy as np

TEXTS = [
    "a man plays a guitar",
    "a dog",
    "",
    "the woman in the red dress is walking down a long street with two dogs and a child",
    "한국어 문장 하나 🙂",
    "<pad> a dog [PAD] runs in the park",  # a padding token that somebody typed
]
PAIRS = [(a, b) for a, b in itertools.product(TEXTS, TEXTS) if a != b]


def close(found: Any, expected: Any, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)
