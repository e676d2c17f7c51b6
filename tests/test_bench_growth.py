"""experiments.bench_growth: exact lengths, the slope by hand, a small run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from experiments import bench_growth
from sbert.errors import RunError

PASSAGES = ["the cat sat on the mat and the dog ran", "a man plays a guitar while a woman sings a song"] * 8


def test_texts_have_exactly_so_many_tokens(tiny_model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    words = [f"{first} {second}" for first in PASSAGES[0].split() for second in PASSAGES[1].split()]
    texts = bench_growth.texts_of(tokenizer, words, 6, 9)
    assert len(set(texts)) == 9 and {len(tokenizer(text)["input_ids"]) for text in texts} == {6}
    with pytest.raises(RunError, match="texts of 6 tokens, 10000 are asked for"):
        bench_growth.texts_of(tokenizer, words, 6, 10000)


def test_the_exponent_by_hand() -> None:
    """seconds = 3 n: 1; seconds = n squared: 2; one point has none."""
    assert bench_growth.exponent(
        [{"texts": n, "seconds": 3 * n} for n in (1, 2, 8)], "texts"
    ) == pytest.approx(1)
    assert bench_growth.exponent(
        [{"tokens": n, "seconds": n * n} for n in (2, 4, 5)], "tokens"
    ) == pytest.approx(2)
    assert math.isnan(bench_growth.exponent([{"texts": 4, "seconds": 1.0}], "texts"))


@pytest.mark.parametrize(
    "words, said",
    [
        (["--texts", "0"], "--texts 0: must be at least 1"),
        (["--pairs", "0"], "--pairs 0: must be at least 1"),
        (["--lengths", "2"], "--lengths 2"),
        (["--output", "x.png"], "must end in .json"),
        (["--repeats", "0"], "--repeats"),
    ],
)
def test_wrong_flags(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_growth.main(words) == 2
    assert said in capsys.readouterr().err


def test_a_small_run(tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "growth.json"
    words = [
        "--data",
        "samples-mrc-en",
        "--model",
        str(tiny_model_dir),
        "--texts",
        "5",
        "10",
        "--pairs",
        "3",
        "6",
        "--threads",
        "1",
    ]
    words += ["--lengths", "8", "16", "--batch-size", "4", "--repeats", "1", "--output", str(output)]
    assert bench_growth.main(words) == 0
    record = json.loads(output.read_text(encoding="utf8"))
    assert [cell["texts"] for cell in record["encode_texts"]] == [5, 10]
    assert [cell["tokens"] for cell in record["train_length"]] == [8, 16]
    assert [cell["pairs"] for cell in record["train_pairs"]] == [3, 6]
    assert all(cell["seconds"] > 0 for name, *_ in bench_growth.PANELS for cell in record[name])
    assert set(record["exponents"]) == {name for name, *_ in bench_growth.PANELS}
    assert "exponents" in capsys.readouterr().out
    words[words.index("--lengths") + 2] = "5000"
    assert bench_growth.main(words) == 1
    assert "--lengths 5000: the model takes" in capsys.readouterr().err
