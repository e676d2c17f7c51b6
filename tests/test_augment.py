"""Augmented SBERT: which pairs are drawn, how they are labelled, and what the command writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import data
from experiments import augment as command
from sbert import CrossEncoder, augment
from sbert.cross_encoder import IDENTITY
from sbert.model import modelWithPooling
from sbert.retrieval.sparse import words

TEXTS = ["a red car", "the red car drove", "a blue boat", "boat and car", "nothing shared"]


def test_bm25_neighbours_share_words_and_are_others() -> None:
    found = augment.bm25_neighbours(TEXTS, 2)
    assert found[0][0] == 1 and found[4] == []  # red and car; no word of another
    assert all(i not in row and len(row) <= 2 for i, row in enumerate(found))
    shared = [{j for j, other in enumerate(TEXTS) if j != i and set(words(other)) & set(words(text))}
              for i, text in enumerate(TEXTS)]  # fmt: skip
    assert all(set(row) <= near for row, near in zip(found, shared, strict=True))


def test_embedding_neighbours_equal_a_plain_loop() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32) * np.arange(1, 10)[
        :, None
    ].astype("f4")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    expected = [[j for j in np.argsort(-row, kind="stable") if j != i][:3] for i, row in enumerate(cosine)]
    assert augment.embedding_neighbours(vectors, 3) == expected
    assert [len(row) for row in augment.embedding_neighbours(vectors[:2], 3)] == [1, 1]


def test_random_neighbours_are_others_and_follow_the_seed() -> None:
    one, again, other = (augment.random_neighbours(20, 5, seed) for seed in (1, 1, 2))
    assert one == again != other
    assert all(i not in row and all(0 <= j < 20 for j in row) for i, row in enumerate(one))


def test_new_pairs_are_new_in_either_direction() -> None:
    pairs = augment.new_pairs(["a", "b", "c"], [[[1, 2], [0], [1]], [[2], [2], [0]]], known=[("c", "a")])
    assert pairs == [("a", "b"), ("c", "b")]


def test_margins_are_differences_of_the_teachers_scores(tiny_model_dir: Path) -> None:
    teacher = CrossEncoder.from_pretrained(tiny_model_dir)
    triplets = [("a cat", "a dog", "rain"), ("snow", "ice", "a cat")]
    found = augment.margins(teacher, triplets, activation=IDENTITY)
    for (a, p, n), margin in zip(triplets, found, strict=True):
        scores = teacher.predict([(a, p), (a, n)], activation=IDENTITY)
        assert margin == pytest.approx(float(scores[0] - scores[1]), abs=1e-6)


@pytest.fixture(scope="module")
def teacher_dir(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "model"
    CrossEncoder.from_pretrained(tiny_model_dir).save_pretrained(folder)
    return folder


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def test_pairs_command(
    teacher_dir: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "silver.jsonl"
    argv = [
        "pairs",
        "--teacher",
        str(teacher_dir),
        "--student",
        str(tiny_model_dir),
        "--data",
        "samples-sts-en",
    ]
    assert command.main([*argv, "--output", str(out), "--limit", "30"]) == 0
    made = rows(out)
    assert len(made) == 30 and "30 rows written" in capsys.readouterr().out
    gold = augment.unordered((e.texts[0], e.texts[1]) for e in data.load("samples-sts-en", "train").examples)
    silver = augment.unordered((row["sentence1"], row["sentence2"]) for row in made)
    assert len(silver) == 30 and not silver & gold
    teacher = CrossEncoder.from_pretrained(teacher_dir)
    scores = teacher.predict([(row["sentence1"], row["sentence2"]) for row in made])
    assert [row["score"] for row in made] == pytest.approx(scores.tolist(), abs=1e-6)
    assert data.load(str(out)).task == "sts"
    info = json.loads((tmp_path / "silver.jsonl.info.json").read_text(encoding="utf8"))
    assert sum(info["spread"]["labelled"].values()) == 30 and info["rows"] == 30


def test_margins_command(teacher_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "margins.jsonl"
    argv = ["margins", "--teacher", str(teacher_dir), "--data", "samples-nli-en", "--scores", "logit"]
    assert command.main([*argv, "--output", str(out), "--limit", "5"]) == 0
    loaded = data.load(str(out))
    assert (loaded.task, len(loaded)) == ("margin", 5)
    triplets = {e.texts for e in data.triplets(data.load("samples-nli-en", "train")).examples}
    assert {e.texts for e in loaded.examples} <= triplets


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["pairs", "--output", "x.tsv"], "must end in .jsonl"),
        (["pairs", "--scores", "logit"], "--scores logit is for margins"),
        (["pairs", "--per-sentence", "0"], "--per-sentence must be at least 1"),
        (["pairs", "--data", "samples-nli-en"], "is nli data; pairs need sts data"),
        (["margins", "--data", "samples-sts-en"], "is sts data; margins need triplets or nli data"),
        (["pairs", "--data", "nosuch"], "unknown data set 'nosuch'"),
    ],
)
def test_one_line(
    teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    given = ["--teacher", str(teacher_dir), "--output", str(tmp_path / "x.jsonl")]
    assert command.main([*argv[:1], *given, *argv[1:]]) == (1 if "nosuch" in words else 2)
    err = capsys.readouterr().err.strip()
    assert words in err and "\n" not in err
    assert list(tmp_path.iterdir()) == []


def test_texts_without_words_or_company() -> None:
    assert augment.bm25_neighbours(["!", "🎈"], 2) == [[], []]
    assert augment.random_neighbours(1, 3, 0) == [[]]


def test_a_teacher_whose_scores_are_no_numbers(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = CrossEncoder.from_pretrained(tiny_model_dir)
    with torch.no_grad():
        teacher.head.out_proj.bias.fill_(float("nan"))  # type: ignore[union-attr]
    teacher.save_pretrained(tmp_path / "nan")
    argv = ["pairs", "--teacher", str(tmp_path / "nan"), "--data", "samples-sts-en", "--samplers", "random"]
    assert command.main([*argv, "--output", str(tmp_path / "x.jsonl")]) == 1
    assert "scores that are not finite: nothing written" in capsys.readouterr().err
    assert not (tmp_path / "x.jsonl").exists()


def test_an_untrained_teacher_is_refused(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        "pairs",
        "--teacher",
        str(tiny_model_dir),
        "--data",
        "samples-sts-en",
        "--output",
        str(tmp_path / "x.jsonl"),
    ]
    assert command.main(argv) == 1
    assert "not a trained cross-encoder of one score a pair" in capsys.readouterr().err


def test_cosines_are_those_of_the_embeddings(tiny_model_dir: Path) -> None:
    teacher = modelWithPooling.from_pretrained(tiny_model_dir)
    pairs = [("a cat", "a dog"), ("snow", "a cat"), ("rain", "rain")]
    found = augment.cosines(teacher, pairs)
    u, v = (teacher.encode([pair[side] for pair in pairs]) for side in (0, 1))
    expected = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    assert found == pytest.approx(expected, abs=1e-5) and found[2] == pytest.approx(1)


def test_a_bi_encoder_labels_nli_pairs_as_they_stand(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "silver.jsonl"
    argv = ["pairs", "--teacher-arch", "bi", "--teacher", str(tiny_model_dir), "--samplers", "own"]
    assert command.main([*argv, "--data", "samples-nli-en", "--limit", "20", "--output", str(out)]) == 0
    given = {e.texts for e in data.load("samples-nli-en", "train").examples}
    found = [(row["sentence1"], row["sentence2"]) for row in rows(out)]
    assert len(found) == 20 and set(found) <= given
    assert all(0 <= row["score"] <= 1 for row in rows(out))


@pytest.mark.parametrize(
    "words, said",
    [
        (["--samplers", "own", "bm25"], "no other sampler"),
        (["--teacher-arch", "bi", "--scores", "logit"], "--scores logit"),
        (["--samplers", "bm25", "--data", "samples-nli-en"], "--samplers own"),
    ],
)
def test_what_does_not_go_together(
    words: list[str], said: str, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["pairs", "--teacher", str(teacher_dir), "--output", str(tmp_path / "x.jsonl"), *words]
    assert command.main(argv) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "x.jsonl").exists()
