"""Throughput: batches and padding worked out by hand, the same vectors both ways, and what the command writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import data
from experiments import throughput
from experiments.throughput import Pass, build_parser, encode_in_batches, main, sentences_of
from sbert.model import modelWithPooling

TEXTS = ["A cat.", "A man is eating food in a garden.", "고양이가 잔다", "A cat.", "Dogs run.", ""]


def words(folder: Path) -> modelWithPooling:
    """A model for which a text has as many tokens as it has letters."""
    (folder / "v.txt").write_text("a 1 0\nb 0 1\n", encoding="utf8")
    return modelWithPooling.from_pretrained(folder / "v.txt")


@pytest.mark.parametrize(
    ("smart", "computed"),
    [
        (False, 2 * 4 + 2 * 3 + 1),
        (True, 2 * 4 + 2 * 2 + 1),
    ],  # as they come (1 4)(2 3)(1); sorted (4 3)(2 1)(1)
)
def test_padding_share_by_hand(tmp_path: Path, smart: bool, computed: int) -> None:
    texts = ["a", "a b a b", "b b", "a a b", "b"]
    found = encode_in_batches(words(tmp_path), texts, 2, smart=smart)
    assert (found.real, found.computed) == (11, computed)
    assert found.padding_share == pytest.approx(1 - 11 / computed)
    expected = [[1, 0], [0.5, 0.5], [0, 1], [2 / 3, 1 / 3], [0, 1]]
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-6)  # in the order of the texts
    assert found.seconds > 0


@pytest.mark.parametrize("batch_size", [1, 2, 100])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_ways_give_the_same_vectors(tiny_model_dir: Path, batch_size: int, precision: str) -> None:
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    plain, smart = (
        encode_in_batches(model, TEXTS, batch_size, smart=smart, precision=precision).vectors
        for smart in (False, True)
    )
    tolerance = 1e-5 if precision == "fp32" else 0.05
    np.testing.assert_allclose(plain, smart, atol=tolerance)
    np.testing.assert_allclose(plain, model.encode(TEXTS), atol=tolerance if precision == "fp32" else 0.1)


def test_sentences_are_those_of_the_files_in_their_order() -> None:
    args = build_parser().parse_args(["--data", "samples-sts-en", "--output-dir", "x"])
    texts, files = sentences_of(args)
    sets = [data.load("samples-sts-en", split) for split in ("train", "dev", "test")]
    assert texts == [text for s in sets for example in s.examples for text in example.texts]
    assert len(texts) == 2 * sum(map(len, sets)) and len(files) == 3
    args.limit = 5
    assert sentences_of(args)[0] == texts[:5]


def command(folder: Path, model: Path, *more: str) -> list[str]:
    return [
        "--model",
        str(model),
        "--data",
        "samples-sts-en",
        "--output-dir",
        str(folder),
        "--device",
        "cpu",
        *more,
    ]


def test_a_run_with_both_ways(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = command(tmp_path / "run", tiny_model_dir, "--rounds", "2", "--threads", "1")
    assert main(argv) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics) == {
        "sentences",
        "sentences_per_second",
        "padding_share",
        "plain/sentences_per_second",
        "plain/padding_share",
        "speedup",
    }
    assert 0 <= metrics["padding_share"] < metrics["plain/padding_share"] < 1
    assert metrics["speedup"] > 0 and metrics["sentences_per_second"] > 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["argv"] == argv and config["device"] == "cpu" and config["precision"] == "fp32"
    assert config["flags"]["batch_size"] == 32 and len(config["data"]) == 3 and config["threads"] == 1
    out, err = capsys.readouterr()
    assert "smart batching: " in out and "sorted by length" in out
    assert [line.split(":")[0] for line in err.splitlines()] == [
        f"round {number}, {way}" for number in (1, 2) for way in ("plain", "smart")
    ]
    assert main(argv) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_a_run_without_smart_batching(tiny_model_dir: Path, tmp_path: Path) -> None:
    argv = command(tmp_path / "run", tiny_model_dir, "--no-smart-batching", "--rounds", "1", "--limit", "40")
    assert main([*argv, "--num-layers", "1", "--precision", "bf16"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (
        set(metrics) == {"sentences", "sentences_per_second", "padding_share"} and metrics["sentences"] == 40
    )


def test_medians_and_ratios_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {
        False: iter([9.0, 4.0, 8.0, 5.0]),
        True: iter([9.0, 2.0, 1.0, 4.0]),
    }  # the first is the warm-up

    def encode(model: object, texts: list[str], size: int, *, smart: bool, precision: str) -> Pass:
        return Pass(np.zeros((2, 1)), 6, 8 if smart else 10, next(seconds[smart]))

    monkeypatch.setattr(throughput, "encode_in_batches", encode)
    args = build_parser().parse_args(["--output-dir", "x"])
    assert throughput.measure(None, ["a", "b"], args) == {  # type: ignore[arg-type]
        "sentences": 2,
        "sentences_per_second": 1.0,  # 1, 2 and 0.5
        "padding_share": 0.25,
        "plain/sentences_per_second": 0.4,  # 0.5, 0.25 and 0.4
        "plain/padding_share": 0.4,
        "speedup": 2.0,  # 2, 8 and 1.25
    }


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--batch-size", "0"], 2, "--batch-size 0: must be at least 1"),
        (["--rounds", "-1"], 2, "--rounds -1: must be at least 1"),
        (["--device", "tpu"], 2, "--device tpu: allowed are auto, cpu, cuda, cuda:N"),
        (["--data", "stbs"], 2, "did you mean stsb?"),
        (["--data", "nli-en"], 2, "--data nli-en is nli data: allowed are sts sets"),
        (["--num-layers", "9"], 1, "--num-layers 9: this encoder has 2"),
        (["--data", "gone.tsv"], 1, "gone.tsv"),
    ],
)
def test_what_is_refused(
    tiny_model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    code: int,
    says: str,
) -> None:
    assert main(command(tmp_path / "run", tiny_model_dir, *more)) == code
    err = capsys.readouterr().err
    assert err.startswith("throughput: error: ") and err.count("\n") == 1 and says in err
    assert not (tmp_path / "run").exists()


def test_unknown_flags_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--output-dir", "x", "--precison", "bf16"])
    assert stop.value.code == 2 and "--precison" in capsys.readouterr().err
