"""SimCSE: texts without labels, each its own positive; two passes that differ by dropout and by nothing else."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from train_process import SMALL, TrainRunner, said, whole_and_resumed

import data
from data import DataSet, Example, Passage, Question, RetrievalSet
from sbert.chunks import Features
from sbert.dense_source import DenseSource
from sbert.errors import RunError, UsageError
from sbert.flag_checks import objectives_of, parse
from sbert.gradient_cache import cached_backward
from sbert.loop import Settings
from sbert.model import modelWithPooling
from sbert.plan import load_stages
from sbert.precision import autocast
from sbert.simcse import SimCSE, check_passes_differ
from sbert.trains_on import OBJECTIVES
from tests.tiny_models import save_tiny, tiny_model

CPU = torch.device("cpu")
TEXTS = ["the cat sat", "a dog ran in the park", "two men", "a woman is playing", "the man sat", "a cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "bert")


@pytest.fixture
def encoder(folder: Path) -> modelWithPooling:
    return tiny_model(folder)


def no_dropout(model: modelWithPooling) -> modelWithPooling:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def dataset(*texts: str, task: str = "text") -> DataSet:
    return DataSet("made-up", "train", task, "en", [Example((text,), None) for text in texts], {})


def source_of(model: modelWithPooling, *texts: str) -> DenseSource:
    return DenseSource.build(dataset(*texts), SimCSE(model))


def passes(source: DenseSource, cache_rows: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """What both passes of a batch with all texts came to when it was trained on, plainly or through the gradient cache."""
    objective, batch = source.objective.train(), source.batch(range(len(source.lengths)), CPU)
    if not cache_rows:
        first, second = objective.embed(batch.features)
        return first, second
    seen: list[torch.Tensor] = []
    score = objective.score
    objective.score = lambda vectors, answer: seen.extend(vectors) or score(vectors, answer)  # type: ignore[method-assign]
    casting = partial(autocast, CPU, "fp32")
    cached_backward(objective, batch.features, batch.answer, cache_rows, torch.Tensor.backward, casting)
    first, second = seen
    return first, second


# ---------------------------------------------------------------- texts


def test_every_distinct_text_once_in_its_order() -> None:
    rows = [Example(("b", "a"), 0.5), Example(("a", "c"), 1.0), Example(("b", "c"), 0.0)]
    found = data.unlabeled(DataSet("made-up", "train", "sts", "en", rows, {"file": "0"}))
    assert found.examples == [Example((text,), None) for text in "bac"]
    assert (found.key, found.task, found.files) == ("made-up-train", "text", {"file": "0"})
    assert data.unlabeled(found) == found


def test_of_a_retrieval_set_the_passages_of_its_split_and_no_question() -> None:
    passages = [
        Passage("p1", "one", "A"), Passage("p2", "two", "B"), Passage("p3", "one", "A"), Passage("p4", "", "A"),
    ]  # fmt: skip
    asked = [Question("q1", "which")], {"q1": {"p1": 1}}, {}
    pool = RetrievalSet("made-up", "train", "en", passages, *asked)
    assert [e.texts for e in data.unlabeled(pool).examples] == [("one",), ("two",)]
    own = RetrievalSet("made-up", "train", "en", passages, *asked, articles=("A",), titled=True)
    assert [e.texts for e in data.unlabeled(own).examples] == [("A one",), ("A",)]


def test_a_file_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_bytes("\ufeffthe cat\r\n\n a dog \nthe cat\n".encode())
    loaded = data.load("lines.txt")
    assert (loaded.task, loaded.key, loaded.skipped) == ("text", "lines", 1)
    assert [e.texts[0] for e in loaded.examples] == ["the cat", "a dog", "the cat"]
    flags, _ = parse(["--train-data", "lines.txt"])
    (stage,) = load_stages(flags)
    assert stage.objectives == ["simcse"] and [e.texts[0] for e in stage.train[0].examples] == [
        "the cat",
        "a dog",
    ]  # type: ignore[union-attr]


def test_every_kind_of_set_that_is_there() -> None:
    known = {task for tasks in OBJECTIVES["bi"].values() for task in tasks}
    assert set(OBJECTIVES["bi"]["simcse"]) == known
    for name in ("stsb", "nli-en", "wikisec", "tatoeba", "nfcorpus", "my.jsonl", "my.txt"):
        assert objectives_of(parse(["--train-data", name, "--objective", "simcse"])[0]) == ["simcse"]


def test_a_limit_counts_texts_and_dev_sets_keep_their_labels() -> None:
    words = ["--train-data", "samples-sts-en", "samples-mrc-en", "samples-nli-en", "--objective", "simcse", "simcse", "triplet"]  # fmt: skip
    (stage,) = load_stages(parse([*words, "--train-limit", "9"])[0])
    assert [(s.task, len(s)) for s in stage.train] == [("text", 9), ("text", 9), ("triplet", 9)]
    assert [s.task for s in stage.dev] == ["sts", "retrieval", "triplet"]
    (alone,) = load_stages(parse([*words[:2], "--objective", "simcse"])[0])
    assert alone.select_on is None  # what learns without labels is not selected by labels unless told to be
    (told,) = load_stages(
        parse([*words[:2], "--objective", "simcse", "--select-on", "samples-sts-en-dev/spearman_cosine"])[0]
    )
    assert told.select_on == "samples-sts-en-dev/spearman_cosine"


# ---------------------------------------------------------------- the objective


def test_the_loss_by_hand(encoder: modelWithPooling) -> None:
    source = source_of(encoder, *TEXTS[:3])
    batch = source.batch([0, 1, 2], CPU)
    loss = source.objective.eval()(batch.features, batch.answer)["loss"].item()
    unit = F.normalize(torch.from_numpy(encoder.encode(TEXTS[:3])), dim=-1)
    own = [(20 * unit @ unit.T)[i].softmax(0)[i].log().item() for i in range(3)]
    assert loss == pytest.approx(-sum(own) / 3, abs=1e-5) and loss > 0.01


@pytest.mark.parametrize("cache_rows", [0, 2, 100])
def test_both_passes_draw_their_own_dropout(encoder: modelWithPooling, cache_rows: int) -> None:
    """Also of texts of one length, which are sorted alike, and whichever part of the batch a text is encoded in."""
    for texts in (TEXTS, ["the cat", "the dog", "the man"]):
        first, second = passes(source_of(encoder, *texts), cache_rows)
        assert (first - second).abs().amax(1).min() > 1e-3
        still = no_dropout(copy.deepcopy(encoder))
        first, second = passes(source_of(still, *texts), cache_rows)
        torch.testing.assert_close(first, second)


def test_nothing_is_encoded_once_and_copied(encoder: modelWithPooling) -> None:
    rows: list[int] = []
    source = source_of(encoder, *TEXTS)
    encoder.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    passes(source)
    assert sum(rows) == 2 * len(TEXTS)


def test_the_gradient_cache_sees_the_passes_that_it_learns_from(encoder: modelWithPooling) -> None:
    source = source_of(encoder, *TEXTS)
    batch = source.batch(range(6), CPU)
    objective = source.objective.train()

    def gradients() -> torch.Tensor:
        found = torch.cat([p.grad.flatten() for p in objective.parameters() if p.grad is not None])
        objective.zero_grad()
        return found

    torch.manual_seed(3)
    parts = [(encode, chunks) for encode, chunks in objective.plan(batch.features, 2)]
    vectors = [v for encode, chunks in parts for v in chunks.restore([encode(x) for x in chunks.parts])]
    objective.score(vectors, batch.answer)["loss"].backward()
    whole = gradients()
    torch.manual_seed(3)
    casting = partial(autocast, CPU, "fp32")
    cached_backward(objective, batch.features, batch.answer, 2, torch.Tensor.backward, casting)
    assert (gradients() - whole).norm() < 1e-5 * whole.norm()


def test_no_text_meets_itself_in_a_batch(encoder: modelWithPooling) -> None:
    source = source_of(encoder, *TEXTS)
    batches = Settings(batch_size=4).batches([source], epoch=0)
    assert sorted(row for _, rows in batches for row in rows) == list(range(6))
    assert torch.equal(source.batch([4, 1, 2], CPU).answer, torch.eye(3))  # type: ignore[arg-type]


def test_both_passes_have_the_prompt_of_documents(folder: Path) -> None:
    model = tiny_model(folder, prompts={"query": "question: ", "document": "passage: "})
    features: Features = source_of(model, "the cat", "a dog").batch([0, 1], CPU).features
    assert all(torch.equal(a, b) for a, b in zip(*(column.values() for column in features), strict=True))
    assert model.tokenizer is not None
    ids = model.tokenizer("passage: the cat")["input_ids"]
    assert features[0]["input_ids"][0].tolist()[: len(ids)] == ids


# ---------------------------------------------------------------- what is refused


def test_refused_before_training(encoder: modelWithPooling) -> None:
    source = source_of(encoder, *TEXTS)
    before = torch.get_rng_state()
    check_passes_differ(source, "m")
    assert torch.equal(torch.get_rng_state(), before) and not encoder.training
    check_passes_differ(source_of(encoder, *TEXTS[:2]), "m")
    with pytest.raises(RunError, match="made-up-train: one distinct text"):
        check_passes_differ(source_of(encoder, "a cat"), "m")
    still = source_of(no_dropout(encoder), *TEXTS)
    with pytest.raises(
        RunError,
        match=r"--model m: two passes of one text give one vector.*difference: the encoder has no dropout \(set",
    ):
        check_passes_differ(still, "m")
    with pytest.raises(RunError, match="is ranking data; SimCSE takes text"):
        DenseSource.build(dataset("a", task="ranking"), SimCSE(encoder))


REFUSED = {
    "cross": (["--arch", "cross"], "--objective simcse is not one of --arch cross; allowed are auto"),
    "hard negatives": (["--hard-negatives", "1"], "--hard-negatives is for --objective ranking and mega-batch-margin"),
    "topics": (["--batch-sampler", "topics"], "--batch-sampler topics is for --arch bi --objective ranking and mega"),
    "symmetric": (["--symmetric"], "--symmetric is for --objective ranking; this run has simcse"),
    "head": (["--head-lr", "0.1"], "--head-lr is for --objective classification"),
    "teacher": (["--teacher", "minilm"], "--teacher is for --objective distill; this run has simcse"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_flags_that_say_nothing_to_it(case: str) -> None:
    more, words = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        parse(["--objective", "simcse", "--train-data", "samples-sts", *more])
    assert words in str(caught.value)


# ---------------------------------------------------------------- runs

RUN: tuple[Any, ...] = (
    "--objective",
    "simcse",
    "--train-data",
    "samples-sts-en",
    "--eval-data",
    "--dev-data",
)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def test_a_run_over_every_kind_of_set(run_train: TrainRunner, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("the cat\na dog\ntwo men\n", encoding="utf8")
    (tmp_path / "pairs.tsv").write_text(
        "anchor\tpositive\nwho sat\tthe cat\nwho ran\tthe dog\n", encoding="utf8"
    )
    (tmp_path / "both.tsv").write_text("source\ttarget\nthe cat\t고양이\nthe dog\t개\n", encoding="utf8")
    names = ["samples-sts", "samples-nli-en", "samples-mrc-en", "own.txt", "pairs.tsv", "both.tsv"]
    result = run_train(
        "--model", folder, *SMALL, "--objective", "simcse", "--train-data", *names, "--eval-data", "samples-sts-en",
        "--dev-data", "samples-sts-en", "--select-on", "samples-sts-en-dev/spearman_cosine", "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    found = json.loads((tmp_path / "run/metrics.json").read_text(encoding="utf8"))
    (stage,) = found["stages"]
    assert (
        stage["objectives"] == ["simcse"] * 6 and stage["selected_on"] == "samples-sts-en-dev/spearman_cosine"
    )
    assert "samples-sts-en-test/spearman_cosine" in found
    rows = json.loads((tmp_path / "run/config.json").read_text(encoding="utf8"))["rows"]
    assert rows["own"] == 3 and rows["pairs"] == 4 and rows["both"] == 4 and rows["samples-sts-train"] == 24
    again = run_train("--train-data", "own.txt", "--model", folder, *SMALL, "--output-dir", "auto")
    assert again.code == 0 and "own, simcse: kept" in again.stdout, again.stderr


def test_a_stopped_run_goes_on_as_if_never_stopped(
    run_train: TrainRunner, folder: Path, tmp_path: Path
) -> None:
    flags = ["--model", folder, *RUN, "--train-limit", 24, "--batch-size", 4, "--epochs", 3, "--lr", "1e-3", "--precision",
             "fp32", "--log-steps", 1, "--cache-rows", 3]  # fmt: skip
    whole_and_resumed(run_train, *flags)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_runs_that_end_in_one_line(run_train: TrainRunner, folder: Path, tmp_path: Path) -> None:
    still = tiny_model(folder)
    assert still.tokenizer is not None
    still.save_pretrained(tmp_path / "still")
    config = json.loads((tmp_path / "still/config.json").read_text(encoding="utf8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (tmp_path / "still/config.json").write_text(json.dumps(config), encoding="utf8")
    assert "the encoder has no dropout" in said(run_train("--model", "still", *RUN, "--output-dir", "a"), 1)
    one = said(run_train("--model", folder, *RUN, "--batch-size", 1, "--output-dir", "b"), 1)
    assert "there is nothing to tell apart" in one
    towers = said(run_train("--model", folder, *RUN, "--towers", "separate", "--output-dir", "c"), 1)
    assert "--objective simcse trains one encoder; two towers take ranking or mega-batch-margin" in towers
    (tmp_path / "x.txt").write_text("a cat\nthe dog\n", encoding="utf8")
    scored = said(run_train("--model", folder, "--eval-only", "--eval-data", "x.txt", "--output-dir", "d"), 2)
    assert "x.txt" in scored or "x is text data" in scored
    cross = said(
        run_train("--model", folder, "--arch", "cross", "--train-data", "x.txt", "--output-dir", "e"), 2
    )
    assert "cannot train on x, which is text data" in cross
