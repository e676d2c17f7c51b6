"""The memory benchmark measures what it says, on the embedded samples; its cells run in this process here."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments import bench_memory
from experiments.bench_memory import build_parser, main, work


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(words: Sequence[str], threads: int, folder: str) -> dict[str, Any]:
        return json.loads(json.dumps(work(build_parser().parse_args(list(words[3:])))))

    monkeypatch.setattr(bench_memory, "measure", measure)


def test_a_small_run(
    one_process: None, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "found.json"
    words = ["--data", "samples-mrc-en", "--model", str(tiny_model_dir), "--batch-size", "4", "--cached", "8"]
    assert main([*words, "--cache-rows", "2", "--output", str(output)]) == 0
    found = json.loads(output.read_text(encoding="utf8"))
    assert [(cell["batch_size"], cell["cache_rows"]) for cell in found["cells"]] == [(4, 0), (8, 2)]
    for cell in found["cells"]:  # Linux counts pages by processor: a peak read twice may differ by some
        assert cell["seconds"] > 0 and cell["peak_mib"] + 5 > cell["before_mib"] > 10
    assert found["gradients"]["batch_size"] == 8 and 0 < found["gradients"]["relative"] < 1e-5
    assert "8 cached" in capsys.readouterr().out


def test_a_batch_larger_than_the_set(
    one_process: None, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "samples-mrc-en", "--model", str(tiny_model_dir), "--batch-size", "5000"]
    assert main(words) == 1
    assert "the largest batch without a passage twice has" in capsys.readouterr().err


def test_the_peak_is_not_the_parents() -> None:
    """ru_maxrss of a child begins with what its parent held."""
    held = bytearray(b"x" * 400_000_000)
    words = "from experiments.bench_memory import peak_bytes; print(peak_bytes()); x = b'x' * 200_000_000; print(peak_bytes())"
    found = subprocess.run(
        [sys.executable, "-c", words],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, found.stdout.split())
    assert before < len(held) / 2 and 190e6 < after - before < 260e6
