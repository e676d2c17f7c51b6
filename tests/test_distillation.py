"""Distillation from a teacher: the loss by hand, the teacher's vectors, the gradient cache, runs and resumed runs."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import row, write
from tiny_models import WIDTH, save_tiny, tiny_model
from train_process import TrainRunner, contents, said, same_numbers

import data
from heads.embedding import Dense, Normalize
from losses import distillation_loss
from sbert import distillation
from sbert.build import build_model
from sbert.distillation import DistillationSource, fingerprint, load_teacher, teacher_vectors
from sbert.errors import RunError
from sbert.evaluation import evaluate
from sbert.evaluation.translation import translation_metrics
from sbert.flag_checks import parse
from sbert.gradient_cache import cached_backward
from sbert.model import modelWithPooling
from sbert.objectives import modelForDistillationTraining
from sbert.report import before_after_table, similarity_tables

PAIRS = [
    (f"the man {w}", f"남자가 {k}")
    for w, k in zip(
        ["sat", "ran", "ate", "sang", "slept"],
        ["앉았다", "달렸다", "먹었다", "노래했다", "잤다"],
        strict=True,
    )
]
PAIRS.append(("the man sat", "남자 앉음"))  # one original, two translations
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    load_teacher.cache_clear()
    fingerprint.cache_clear()


@pytest.fixture(scope="module")
def unit(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose vectors have length 1, of other weights than the student's."""
    other = save_tiny(tmp_path_factory.mktemp("other") / "bert", seed=5)
    folder = tmp_path_factory.mktemp("unit") / "model"
    tiny_model(other, layers=[Normalize()]).save_pretrained(folder)
    return folder


def parallel(pairs: list[tuple[str, str]] = PAIRS) -> data.DataSet:
    return data.DataSet("p", "all", "parallel", "en+ko", [data.Example(pair, None) for pair in pairs], {})


# ---------------------------------------------------------------- numbers


def test_loss_by_hand() -> None:
    """(9 + 16 + 1) / 2; and D times the mean of all numbers."""
    student, teacher = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert distillation_loss(student, teacher).item() == 13.0
    u, v = torch.randn(5, 7), torch.randn(5, 7)
    assert torch.allclose(distillation_loss(u, v), 7 * torch.nn.functional.mse_loss(u, v))
    a, b = torch.nn.functional.normalize(u, dim=1), torch.nn.functional.normalize(v, dim=1)
    assert torch.allclose(distillation_loss(a, b), (2 - 2 * (a * b).sum(1)).mean(), atol=1e-6)
    assert distillation_loss(u.half(), u.half()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"student \(5, 7\) and teacher \(7,\)"):
        distillation_loss(u, v[0])


def test_objective_by_hand(tiny_model_dir: Path) -> None:
    """Half of what both sides are away from the teacher."""
    objective = modelForDistillationTraining(tiny_model(tiny_model_dir))
    sides = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])]
    assert objective.score(sides, torch.tensor([[0.0, 0.0]]))["loss"].item() == (1 + 4) / 2


def test_translation_accuracy_by_hand() -> None:
    """Korean: a -> right, b -> right, c -> b. English: 1 -> a (right), 2 -> b (right), 3 -> a."""
    english = np.array([[1, 0], [0, 1], [0.9, -0.1]], dtype=np.float32)
    korean = np.array([[2, 0], [0.1, 5], [0.2, 0.9]], dtype=np.float32)
    texts = [("1", "a"), ("2", "b"), ("3", "c")]
    assert translation_metrics(english, korean, texts, "en+ko") == {
        "accuracy_mean": pytest.approx(2 / 3),
        "accuracy_en_ko": pytest.approx(2 / 3),
        "accuracy_ko_en": pytest.approx(2 / 3),
    }
    same = [("1", "a"), ("2", "b"), ("1", "c")]  # the third English sentence is the first again
    found = translation_metrics(english, korean, [*same[:2], ("2", "c")], "unknown")
    assert found["accuracy_target_source"] == 1.0 and found["accuracy_source_target"] == pytest.approx(2 / 3)
    found = translation_metrics(english, korean, [*texts[:2], ("3", "a")], "en+ko")  # two of one translation
    assert found["accuracy_en_ko"] == 1.0 and found["accuracy_ko_en"] == pytest.approx(2 / 3)
    ties = np.ones((2, 2), dtype=np.float32)
    assert translation_metrics(ties, ties, texts[:2], "en+ko")["accuracy_en_ko"] == 0.5


def test_rows_of_the_similarity_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts or at once; a set of its own order."""
    rng = np.random.default_rng(0)
    u, noise = (rng.standard_normal((50, 4)).astype(np.float32) for _ in range(2))
    texts = [(str(i), str(i)) for i in range(50)]
    whole = translation_metrics(u, u + noise, texts, "en+ko")
    monkeypatch.setattr("sbert.evaluation.translation.ROWS", 7)
    assert translation_metrics(u, u + noise, texts, "en+ko") == whole
    cosine = (u / np.linalg.norm(u, axis=1, keepdims=True)) @ (
        (v := u + noise) / np.linalg.norm(v, axis=1, keepdims=True)
    ).T
    assert whole["accuracy_en_ko"] == (cosine.argmax(1) == np.arange(50)).mean()
    assert whole["accuracy_ko_en"] == (cosine.argmax(0) == np.arange(50)).mean()


def test_evaluation_and_tables(unit: Path) -> None:
    model = modelWithPooling.from_pretrained(unit)
    metrics = evaluate(model, [parallel(), data.load("samples-sts-en")])
    assert set(metrics) > {"p/accuracy_mean", "p/accuracy_en_ko", "p/accuracy_ko_en"}
    table = similarity_tables(metrics, {"p": 6, "samples-sts-en-test": 53}, {})
    assert "accuracy_mean  accuracy_en_ko  accuracy_ko_en" in table and "samples-sts-en-test" in table
    assert "p        6  accuracy" in before_after_table(metrics, metrics, {"p": 6}, {})


# ---------------------------------------------------------------- the teacher


def test_the_source_pairs_each_row_with_its_teacher(unit: Path, tiny_model_dir: Path) -> None:
    student = modelWithPooling.from_pretrained(tiny_model_dir, normalize=True)
    source = DistillationSource.taught(parallel(), modelForDistillationTraining(student), student, str(unit))
    teacher = modelWithPooling.from_pretrained(unit)
    rows = [5, 2, 0]
    batch = source.batch(rows, CPU)
    assert np.array_equal(batch.answer.numpy(), teacher.encode([e[0] for e in PAIRS])[rows])
    assert (
        isinstance(source.vectors, np.memmap) and len(source.vectors) == 5
    )  # "the man sat" stands there once
    assert [len(column["input_ids"]) for column in batch.features] == [3, 3]
    assert batch.answer.dtype == torch.float32 and batch.answer.shape == (3, WIDTH)


def test_vectors_are_computed_once(unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, texts = load_teacher(str(unit), CPU), ["a", "b b", "c"]
    monkeypatch.setattr(distillation, "CHUNK", 2)
    first = np.array(teacher_vectors(str(unit), teacher, texts))
    assert np.allclose(first, teacher.encode(texts), atol=1e-6)
    (path,) = (tmp_path / "cache/teachers").iterdir()
    before = path.stat().st_mtime_ns
    assert np.array_equal(teacher_vectors(str(unit), teacher, texts), first)
    assert path.stat().st_mtime_ns == before
    teacher_vectors(str(unit), teacher, texts[::-1])
    assert len(list((tmp_path / "cache/teachers").iterdir())) == 2
    path.write_bytes(path.read_bytes()[:90])  # half a file is made anew
    assert np.array_equal(teacher_vectors(str(unit), teacher, texts), first)
    np.save(path, first[:, :5])
    assert np.array_equal(teacher_vectors(str(unit), teacher, texts), first)


def test_fingerprint(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(unit, copy)
    assert fingerprint(str(copy)) == fingerprint(str(unit))
    fingerprint.cache_clear()
    (copy / "README.md").write_text("new words")
    assert fingerprint(str(copy)) == fingerprint(str(unit))
    for name in ("model.safetensors", "tokenizer.json", "modules.json"):
        fingerprint.cache_clear()
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        assert fingerprint(str(copy)) != fingerprint(str(unit))
        shutil.copy(unit / name, copy / name)


def flags_of(model: Path, teacher: Path, *more: str):
    words = ["--model", str(model), "--teacher", str(teacher), "--train-data", "tatoeba", *more]
    return parse(words)[0]


def test_the_student_ends_as_the_teacher(unit: Path, tiny_model_dir: Path) -> None:
    """auto adds a Normalize where the teacher has one, and drops it where it has none."""
    plain = build_model(flags_of(tiny_model_dir, unit), CPU, ["distill"])
    assert isinstance(plain.layers[-1], Normalize)
    assert not build_model(flags_of(unit, tiny_model_dir), CPU, ["distill"]).layers
    assert not build_model(flags_of(tiny_model_dir, unit, "--normalize", "no"), CPU, ["distill"]).layers


def test_a_student_knows_what_its_teacher_saw(unit: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(unit, tmp_path / "t")
    facts = json.loads((tmp_path / "t/sbert.json").read_text())
    (tmp_path / "t/sbert.json").write_text(
        json.dumps({**facts, "source": "minilm", "trained_on": ["stsb-train"]})
    )
    model = build_model(flags_of(tiny_model_dir, tmp_path / "t"), CPU, ["distill"])
    assert model.facts["trained_on"] == ["minilm", "stsb-train"]


def test_who_cannot_learn(unit: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    objective = modelForDistillationTraining(modelWithPooling.from_pretrained(unit))
    with pytest.raises(RunError, match=r"lengths of their own.*--normalize no"):
        DistillationSource.taught(parallel(), objective, objective.model, str(tiny_model_dir))
    tiny_model(tiny_model_dir, layers=[Dense(WIDTH, 12), Normalize()]).save_pretrained(tmp_path / "narrow")
    with pytest.raises(RunError, match=rf"its embeddings have 12 dimensions, the student's {WIDTH}"):
        DistillationSource.taught(parallel(), objective, objective.model, str(tmp_path / "narrow"))
    with pytest.raises(RunError, match="--teacher nowhere/at/all: model nowhere/at/all: no such directory"):
        fingerprint("nowhere/at/all")


# ---------------------------------------------------------------- training


def test_gradient_cache_gives_the_same_gradients(unit: Path, tiny_model_dir: Path) -> None:
    student = modelWithPooling.from_pretrained(tiny_model_dir, normalize=True)
    objective = modelForDistillationTraining(student)
    batch = DistillationSource.taught(parallel(), objective, student, str(unit)).batch(range(6), CPU)
    plain = objective(batch.features, batch.answer)["loss"]
    plain.backward()
    gradients = [p.grad.clone() for p in student.parameters() if p.grad is not None]
    student.zero_grad()
    cached = cached_backward(
        objective,
        batch.features,
        batch.answer,
        2,
        lambda loss: loss.backward(),
        nullcontext,
    )
    assert torch.allclose(cached, plain, atol=1e-6)
    again = [p.grad for p in student.parameters() if p.grad is not None]
    assert len(again) == len(gradients) > 0
    for a, b in zip(again, gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


RUN = (
    "--objective",
    "distill",
    "--epochs",
    16,
    "--batch-size",
    2,
    "--lr",
    "5e-3",
    "--precision",
    "fp32",
    "--save-steps",
    5,
)
MORE = ("--save-limit", 0, "--log-steps", 1, "--dev-data", "--select-on", "last", "--eval-data", "mine.tsv")


def start(run_train: TrainRunner, student: Path, teacher: Path, *more: object):
    write(run_train.folder, "mine.tsv", row("source", "target"), *(row(*pair) for pair in PAIRS))
    return run_train(
        "--model",
        student,
        "--teacher",
        teacher,
        "--train-data",
        "mine.tsv",
        *RUN,
        *MORE,
        *more,
        "--output-dir",
        "run",
    )


def test_a_run_a_resumed_run_and_another_teacher(
    run_train: TrainRunner, unit: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """The student comes to where the teacher is, with both languages; half a run goes on to the same bits; a teacher that
    is another one now is refused."""
    teacher = tmp_path / "teacher"
    shutil.copytree(unit, teacher)
    result = start(run_train, tiny_model_dir, teacher)
    assert result.code == 0, result.stderr
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert {"mine/accuracy_mean", "before/mine/accuracy_mean"} <= set(metrics)
    assert "accuracy" in result.stdout
    student = modelWithPooling.from_pretrained(tmp_path / "run/model")
    before = modelWithPooling.from_pretrained(tiny_model_dir, normalize=True)
    wanted = modelWithPooling.from_pretrained(unit).encode([pair[0] for pair in PAIRS])
    for side in (0, 1):
        texts = [pair[side] for pair in PAIRS]
        assert (
            (before.encode(texts) * wanted).sum(1).mean()
            < 0.9
            < (student.encode(texts) * wanted).sum(1).mean()
        )
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["data"][f"teacher {teacher}"] == fingerprint(str(teacher))
    finished = same_numbers(tmp_path / "run")
    weights = contents(tmp_path / "run/model")["model.safetensors"]
    for name in ("model", "metrics.json", "checkpoints"):
        (shutil.move if name == "checkpoints" else shutil.copytree if name == "model" else shutil.copy)(
            tmp_path / "run" / name, tmp_path / f"old-{name}"
        )
    shutil.rmtree(tmp_path / "run/model")
    (tmp_path / "run/metrics.json").unlink()
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # the teacher's vectors are computed again
    (tmp_path / "run/checkpoints").mkdir()
    shutil.copytree(
        tmp_path / "old-checkpoints/update-00000010", tmp_path / "run/checkpoints/update-00000010"
    )
    resumed = run_train("--resume", "run")
    assert resumed.code == 0, resumed.stderr
    assert "update 11/" in resumed.stderr and "update 10/" not in resumed.stderr
    assert same_numbers(tmp_path / "run") == finished
    assert contents(tmp_path / "run/model")["model.safetensors"] == weights
    changed = json.loads((teacher / "1_Pooling/config.json").read_text())
    changed["pooling_mode_mean_tokens"], changed["pooling_mode_cls_token"] = False, True
    (teacher / "1_Pooling/config.json").write_text(json.dumps(changed))
    assert f"teacher {teacher} has changed: sha256 was " in said(run_train("--resume", "run"), 1)


WRONG = {
    "nobody": (["--train-data", "tatoeba"], "--objective distill needs --teacher: minilm, or"),
    "not this": (["--train-data", "stsb", "--teacher", "minilm"], "--teacher is for --objective distill; this run has regression"),
    "not that": (["--train-data", "stsb", "--objective", "distill", "--teacher", "minilm"], "cannot train on stsb, which is sts data"),
    "cross": (["--arch", "cross", "--train-data", "stsb", "--teacher", "minilm"], "--teacher is for --arch bi"),
    "no training": (["--eval-only", "--eval-data", "tatoeba", "--teacher", "minilm"], "--teacher is about training"),
    "cross on parallel text": (["--arch", "cross", "--train-data", "tatoeba"], "which is parallel data; allowed are none with --arch cross"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_flags(case: str) -> None:
    from sbert.errors import UsageError

    words, expected = WRONG[case]
    with pytest.raises(UsageError, match=expected.replace("(", r"\(")):
        parse(words)


def test_a_file_without_a_teacher(run_train: TrainRunner, tiny_model_dir: Path) -> None:
    """What a file holds is known when it is read."""
    write(run_train.folder, "mine.tsv", row("source", "target"), row("a", "b"))
    result = run_train("--model", tiny_model_dir, "--train-data", "mine.tsv")
    assert "--objective distill needs --teacher" in said(result, 2)


def test_defaults_of_parallel_sets() -> None:
    from sbert.flag_checks import objectives_of
    from sbert.plan import eval_names

    flags, _ = parse(["--train-data", "tatoeba", "stsb-ko-en", "--teacher", "minilm"])
    assert objectives_of(flags) == ["distill", "distill"] and eval_names(flags) == ["tatoeba", "stsb-ko-en"]
    assert replace(flags).teacher == "minilm"


def test_vectors_are_computed_by_all_where_one_process_lacks_them(
    unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoding is shared work: a process that went on with its own cache would be waited for for ever."""
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    teacher, calls = modelWithPooling.from_pretrained(unit), []
    encode = teacher.encode
    monkeypatch.setattr(
        teacher, "encode", lambda texts, **more: calls.append(len(texts)) or encode(texts, **more)
    )
    first = np.array(teacher_vectors(str(unit), teacher, ["a", "b"]))
    assert np.array_equal(teacher_vectors(str(unit), teacher, ["a", "b"]), first) and calls == [2]
    monkeypatch.setattr("sbert.distillation.distributed.most", lambda missing: 1)
    assert np.array_equal(teacher_vectors(str(unit), teacher, ["a", "b"]), first) and calls == [2, 2]
