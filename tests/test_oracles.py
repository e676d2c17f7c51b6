"""Published values on real data (make oracles): the encoder, the readers and the evaluation at once.

Values: all-MiniLM-L6-v2, fp32, cosine, Spearman; MTEB publishes the same to the digit except STS14 (75.59).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sbert.precision import cpu_has_bf16

ROOT = Path(__file__).resolve().parent.parent
ORACLES = {
    "stsb-test": 0.82032,
    "sts12-test": 0.72369,
    "sts13-test": 0.80600,
    "sts14-test": 0.75600,
    "sts15-test": 0.85390,
    "sts16-test": 0.78986,
    "sickr-train": 0.77818,
    "sickr-dev": 0.79801,
    "sickr-test": 0.77147,
    "sickr-all": 0.77582,
}
PAIRS = {"sts12-test": 3108, "sts13-test": 1500, "sts14-test": 3750, "sts15-test": 3000, "sts16-test": 1186}

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(
        not os.environ.get("SBERT_DATA"), reason="SBERT_DATA is not set: no real data to score"
    ),
]


def scored(sets: list[str], precision: str, folder: Path) -> dict[str, float]:
    """What the command a user would type writes."""
    command = [sys.executable, "train.py", "--eval-only", "--model", "minilm", "--eval-data", *sets]
    run = subprocess.run(
        [*command, "--precision", precision, "--output-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads((folder / "metrics.json").read_text(encoding="utf8"))


def test_all_ten_sets_in_fp32(tmp_path: Path) -> None:
    metrics = scored(list(ORACLES), "fp32", tmp_path / "fp32")
    ours = {name: metrics[f"{name}/spearman_cosine"] for name in ORACLES}
    assert ours == pytest.approx(ORACLES, abs=1e-4)


def test_bf16_stays_close(tmp_path: Path) -> None:
    """All ten sets where the processor has bf16; without it bf16 is emulated, ten times slower: two sets."""
    sets = list(ORACLES) if cpu_has_bf16() else ["stsb-test", "sts16-test"]
    metrics = scored(sets, "bf16", tmp_path / "bf16")
    ours = {name: metrics[f"{name}/spearman_cosine"] for name in sets}
    assert ours == pytest.approx({name: ORACLES[name] for name in sets}, abs=1e-3)
