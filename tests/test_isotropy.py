"""How alike vectors are: by hand and against all pairs one by one; what is refused; a small run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import isotropy


def test_cosines_by_hand() -> None:
    """Three directions: 1 and 2 alike (1), 1 and 3 at right angles (0), 2 and 3 likewise; lengths say nothing."""
    vectors = np.array([[2, 0], [5, 0], [0, 3]], dtype=np.float32)
    assert isotropy.cosines_between(vectors) == (pytest.approx(1 / 3), pytest.approx((2 / 9) ** 0.5))
    assert isotropy.cosines_between(vectors[:2]) == (pytest.approx(1), pytest.approx(0, abs=1e-7))
    assert isotropy.cosines_between(np.zeros((2, 2), dtype=np.float32)) == (0, 0)


def test_cosines_are_those_of_all_pairs() -> None:
    vectors = np.random.default_rng(1).normal(0.5, 1, (40, 7)).astype(np.float32)
    vectors[3] = 0
    with np.errstate(invalid="ignore"):
        unit = np.nan_to_num(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    pairs = [unit[i] @ unit[j] for i in range(40) for j in range(40) if i != j]
    assert isotropy.cosines_between(vectors) == (
        pytest.approx(np.mean(pairs), abs=1e-6),
        pytest.approx(np.std(pairs), abs=1e-6),
    )


def test_a_run_and_its_record(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    words = ["--model", str(tiny_model_dir), "--data", "samples-sts-en", "--num-layers", "1", "2"]
    assert isotropy.main([*words, "--pooling", "cls", "mean", "--output", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [(row["layers"], row["pooling"]) for row in found["rows"]] == [
        (layers, pooling) for layers in (1, 2) for pooling in ("cls", "mean")
    ]
    assert all(-1 <= row["mean"] <= 1 and 0 < row["sd"] < 1 for row in found["rows"])
    assert len({row["spearman"] for row in found["rows"]}) == 4 and found["command"][:3] == [
        "python",
        "-m",
        "experiments.isotropy",
    ]
    first = capsys.readouterr().out.splitlines()[2].split()
    assert first[:2] == ["1", "cls"] and first[2] == f"{found['rows'][0]['mean']:.4f}"


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["--data", "samples-nli-en"], 2, "samples-nli-en is nli data"),
        (["--num-layers", "0"], 2, "--num-layers 0: must be at least 1"),
        (["--output", "x.txt"], 2, "--output x.txt: must end in .json"),
        (["--model", "no/such/folder"], 1, "no/such/folder"),
    ],
)
def test_what_is_refused(
    words: list[str], code: int, said: str, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isotropy.main(["--model", str(tiny_model_dir), "--data", "samples-sts-en", *words]) == code
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
