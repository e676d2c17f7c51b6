"""Published row counts and stated overlaps, on the real files (SBERT_DATA)."""

from __future__ import annotations

import os

import pytest

import data
from data.registry import SETS

REAL = os.environ.get("SBERT_DATA")


COUNTS = {
    "stsb-train": 5749,
    "stsb-dev": 1500,
    "stsb-test": 1379,
    "sts12": 3108,
    "sts13": 1500,
    "sts14": 3750,
    "sts15": 3000,
    "sts16": 1186,
    "sickr-train": 4500,
    "sickr-dev": 500,
    "sickr": 4927,
    "sickr-all": 9927,
    "sick-nli-train": 4500,
    "sick-nli-dev": 500,
    "sick-nli": 4927,
    "korsts-train": 5749,
    "korsts-dev": 1500,
    "korsts": 1379,
    "klue-sts": 519,
    "klue-nli-train": 24998,
    "klue-nli": 3000,
    "nli-en-train": 87938,
    "nli-en-dev": 29489,
    "nli-en": 9824,
    "kornli-dev": 2490,
    "kornli": 5010,
    "xnli-en-dev": 2490,
    "xnli-en": 5010,
}


@pytest.mark.oracle
@pytest.mark.skipif(not REAL, reason="SBERT_DATA is not set: no real data to count")
@pytest.mark.parametrize("name", COUNTS)
def test_published_row_counts(name: str) -> None:
    loaded = data.load(name, data_dir=REAL, download=False)
    assert len(loaded) == COUNTS[name]
    if loaded.task == "sts":
        assert all(isinstance(e.label, float) and 0.0 <= e.label <= 1.0 for e in loaded.examples)
    else:
        assert {e.label for e in loaded.examples} == {0, 1, 2}


@pytest.mark.oracle
@pytest.mark.skipif(not REAL, reason="SBERT_DATA is not set: no real data to compare")
@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize("year", [12, 13, 14, 15, 16])
def test_stated_overlaps_with_stsb(year: int, split: str) -> None:
    """The pair counts of the registry, counted again: a pair is the same in either order of its sentences."""
    benchmark = {frozenset(e.texts) for e in data.load("stsb", split, data_dir=REAL, download=False).examples}
    pairs = [frozenset(e.texts) for e in data.load(f"sts{year}", data_dir=REAL, download=False).examples]
    shared = sum(pair in benchmark for pair in pairs)
    stated = {overlap.other: overlap.text for overlap in SETS[f"sts{year}"].overlaps}
    assert stated[f"stsb-{split}"].startswith(f"{shared:,} of the {len(pairs):,} pairs")
