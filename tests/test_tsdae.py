"""TSDAE: words deleted, a decoder that sees one vector, weights shared with the encoder, losses where texts are encoded."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import processors
from train_process import SMALL, TrainRunner, said, whole_and_resumed

from data import DataSet, Example
from sbert import tsdae
from sbert.build import build_model, build_objective
from sbert.chunks import padded_tokens
from sbert.diagnose import _text
from sbert.encode import pad, tokenize, words_of
from sbert.errors import RunError, UsageError
from sbert.flag_checks import objectives_of, parse
from sbert.gradient_cache import cached_backward
from sbert.meter import Meter
from sbert.model import modelWithPooling
from sbert.optim import build_optimizer
from sbert.precision import autocast
from sbert.source import Batch
from sbert.trains_on import OBJECTIVES
from sbert.tsdae import FAMILIES, TSDAE, DenoisingSource, check_decodes, delete_words
from sbert.unpadded import pack_for_training
from tests.golden.make_tsdae import CASES, fill
from tests.tiny_models import save_tiny, tiny_model

CPU = torch.device("cpu")
TEXTS = [
    "the cat sat",
    "a dog ran in the park",
    "two men",
    "a woman is playing unheardof",
    "the man sat .",
    "cat",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "bert")


@pytest.fixture
def encoder(folder: Path) -> modelWithPooling:
    return tiny_model(folder)


def source_of(model: modelWithPooling, *texts: str, ratio: float = 0.6) -> DenoisingSource:
    """With cross-attention of which something is to be seen: as it starts, the vector hardly counts."""
    torch.manual_seed(0)
    objective = TSDAE(model, ratio)
    with torch.no_grad():
        for name, weight in objective.decoder.named_parameters():
            if "crossattention" in name and weight.dim() > 1:
                weight.mul_(20)
    objective.eval()
    rows = [Example((text,), None) for text in texts]
    return DenoisingSource.of_texts(DataSet("made-up", "train", "text", "en", rows, {}), objective)


def objective_of(source: DenoisingSource) -> TSDAE:
    assert isinstance(source.objective, TSDAE)
    return source.objective


def batch_of(source: DenoisingSource, *rows: int, seed: int = 1) -> Batch:
    torch.manual_seed(seed)
    return source.batch(rows or range(len(source.lengths)), CPU)


# ---------------------------------------------------------------- what is deleted


def test_words_are_deleted_whole_and_special_tokens_stay() -> None:
    words = [None, 0, 1, 1, 1, 2, None]
    assert delete_words(words, 0.0) == [0, 1, 2, 3, 4, 5, 6]
    for _ in range(20):
        left = delete_words(words, 1.0)
        assert left in ([0, 1, 6], [0, 2, 3, 4, 6], [0, 5, 6])  # one word is always left
        some = delete_words(words, 0.5)
        assert len({2, 3, 4} & set(some)) in (0, 3) and {0, 6} <= set(some)
    assert delete_words([None, None], 0.6) == [0, 1]


def test_the_share_of_words_that_are_deleted_and_its_draws() -> None:
    words: list[int | None] = [None, *range(10_000), None]
    torch.manual_seed(5)
    first = delete_words(words, 0.6)
    assert len(first) == pytest.approx(4000, abs=150)
    torch.manual_seed(5)
    assert delete_words(words, 0.6) == first != delete_words(words, 0.6)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(10_000) >= 0.6, torch.tensor([i + 1 in set(first) for i in range(10_000)]))


def test_words_of_tokens(encoder: modelWithPooling) -> None:
    assert encoder.tokenizer is not None
    (words,) = words_of(encoder.tokenizer, ["the CAT zzz."], 64)
    ids = encoder.tokenizer("the CAT zzz.")["input_ids"]
    assert words == [None, 0, 1, 2, 2, 2, 3, None] and len(ids) == len(words)
    (cut,) = words_of(encoder.tokenizer, ["the CAT zzz."], 5)
    assert cut == [None, 0, 1, 2, None]


def test_a_batch_is_what_is_left_and_the_texts(encoder: modelWithPooling) -> None:
    source = source_of(encoder, *TEXTS)
    batch = batch_of(source)
    (column,) = batch.features
    assert batch.answer is None and batch.size == 6
    assert source.lengths == column["target_mask"].sum(1).tolist()
    for row, text in enumerate(source.columns[0]):
        said_again = column["target_ids"][row][column["target_mask"][row].bool()].tolist()
        left = column["input_ids"][row][column["attention_mask"][row].bool()].tolist()
        assert said_again == text and 3 <= len(left) <= len(text)
        places = iter(text)
        assert all(token in places for token in left)  # in their order
    again = batch_of(source).features[0]
    assert all(torch.equal(column[key], again[key]) for key in column)
    other = source.batch(range(6), CPU).features[0]
    assert not torch.equal(column["input_ids"].sum(), other["input_ids"].sum())


# ---------------------------------------------------------------- the objective


def test_the_loss_by_hand(encoder: modelWithPooling) -> None:
    """Text by text, without padding, a token at a time from what stands before it."""
    source = source_of(encoder, *TEXTS)
    objective, batch = objective_of(source), batch_of(source)
    (column,) = batch.features
    found = objective(batch.features)["loss"].item()
    summed = tokens = 0.0
    for row in range(6):
        left = column["input_ids"][row][column["attention_mask"][row].bool()][None]
        text = column["target_ids"][row][column["target_mask"][row].bool()]
        vector = encoder(input_ids=left, attention_mask=torch.ones_like(left))["sentence_embedding"]
        for place in range(1, len(text)):
            logits = objective.decoder(
                input_ids=text[None, :place], encoder_hidden_states=vector[None]
            ).logits
            summed -= logits[0, -1].log_softmax(-1)[text[place]].item()
            tokens += 1
    assert found == pytest.approx(summed / tokens, abs=1e-5)


def test_the_vector_is_seen_and_later_tokens_are_not(encoder: modelWithPooling) -> None:
    source = source_of(encoder, *TEXTS)
    objective, batch = objective_of(source), batch_of(source)
    (column,) = batch.features
    plain = objective.likelihoods(column)
    swapped = {
        **column,
        "input_ids": column["input_ids"].roll(1, 0),
        "attention_mask": column["attention_mask"].roll(1, 0),
    }
    assert (objective.likelihoods(swapped) - plain).abs()[:, 0].min() > 1e-4

    def nth(n: int, ids: torch.Tensor) -> torch.Tensor:
        part = {**column, "target_ids": ids[:, : n + 1], "target_mask": column["target_mask"][:, : n + 1]}
        return objective.likelihoods(part)[:, 0]

    row, ids = 1, column["target_ids"]
    other = ids.clone()
    other[row, 4] = ids[row, 2]
    assert torch.equal(nth(3, ids), nth(3, other))
    assert (nth(5, ids) - nth(5, other))[row].abs() > 1e-4


def test_weights_are_shared_and_stay_so(encoder: modelWithPooling, tmp_path: Path) -> None:
    source = source_of(encoder, *TEXTS)
    objective = objective_of(source)
    shared = {id(p) for p in encoder.parameters()}
    own = [name for name, p in objective.named_parameters() if id(p) not in shared]
    assert own and all("crossattention" in name or ".cls." in name for name in own)
    inside = {name for name, p in objective.decoder.named_parameters() if id(p) in shared}
    assert {f"bert.{name}" for name, _ in encoder.model.named_parameters() if "pooler" not in name} <= inside
    head = objective.decoder.get_output_embeddings().weight
    assert head is encoder.model.get_input_embeddings().weight  # type: ignore[operator]
    optimizer = build_optimizer(encoder, [objective], lr=1e-2, head_lr=1e-2, weight_decay=0.0)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(objective.parameters()))
    before = objective(batch_of(source).features)["loss"]
    for _ in range(20):
        objective(batch_of(source).features)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert objective(batch_of(source).features)["loss"] < before - 0.5
    base = dict(objective.decoder.base_model.named_parameters())
    assert all(base[name] is p for name, p in encoder.model.named_parameters() if name in base)
    encoder.save_pretrained(tmp_path / "m")
    names = set(load_file(tmp_path / "m/model.safetensors"))
    assert names == {name for name, _ in encoder.model.named_parameters()}
    saved = modelWithPooling.from_pretrained(tmp_path / "m")
    assert torch.allclose(
        torch.from_numpy(saved.encode(TEXTS)), torch.from_numpy(encoder.eval().encode(TEXTS))
    )


def test_parts_have_at_most_so_many_texts_each_as_wide_as_its_longest(encoder: modelWithPooling) -> None:
    source = source_of(encoder, *TEXTS)
    objective, batch = objective_of(source), batch_of(source)
    ((encode, chunks),) = objective.plan(batch.features, 2)
    assert [len(part["target_ids"]) for part in chunks.parts] == [2, 2, 2]
    for part in chunks.parts:
        for ids, mask in (("input_ids", "attention_mask"), ("target_ids", "target_mask")):
            assert part[ids].shape == part[mask].shape and part[mask].any(0).all()
    (column,) = chunks.restore([encode(part) for part in chunks.parts])
    torch.testing.assert_close(column, objective.likelihoods(batch.features[0]))


def test_the_ratio_reaches_the_batch_and_the_flag_the_objective(encoder: modelWithPooling) -> None:
    (column,) = batch_of(source_of(encoder, *TEXTS, ratio=0.0)).features
    assert torch.equal(column["input_ids"], column["target_ids"])
    (column,) = batch_of(source_of(encoder, *TEXTS, ratio=1.0)).features
    assert (column["attention_mask"].sum(1) < column["target_mask"].sum(1)).sum() == 5  # "cat" stays
    flags, _ = parse(["--objective", "tsdae", "--train-data", "samples-sts", "--deletion-ratio", "0.25"])
    assert build_objective("tsdae", encoder, flags).deletion_ratio == 0.25  # type: ignore[union-attr]


def test_the_word_that_stays_is_drawn() -> None:
    torch.manual_seed(1)
    assert len({tuple(delete_words([None, 0, 1, 2, None], 1.0)) for _ in range(40)}) == 3


def test_left_padding_is_of_what_is_encoded_alone(encoder: modelWithPooling) -> None:
    assert encoder.tokenizer is not None
    encoder.tokenizer.padding_side = "left"
    (column,) = batch_of(source_of(encoder, *TEXTS)).features
    assert column["attention_mask"][:, -1].all() and not column["attention_mask"][:, 0].all()
    assert column["target_mask"][:, 0].all() and not column["target_mask"][:, -1].all()


def test_words_of_a_model_that_lowers_texts() -> None:
    folder = Path(__file__).parent / "golden" / "legacy_mean" / "model"
    model = modelWithPooling.from_pretrained(folder)
    assert model.tokenizer is not None and model.description.do_lower_case
    texts = ["The Dog IS PLAYING a Guitar", "a man"]
    ids = tokenize(model.tokenizer, texts, model.max_length, lower=True).ids
    source = source_of(model, *texts)
    assert source.columns[0] == ids and [len(row) for row in source.words] == [len(row) for row in ids]


def test_the_decoder_has_dropout_of_its_own(encoder: modelWithPooling) -> None:
    source = source_of(encoder, *TEXTS)
    objective, batch = objective_of(source), batch_of(source)
    objective.decoder.train()
    assert not encoder.training
    first, second = (objective(batch.features)["loss"].item() for _ in range(2))
    assert first != second


def test_what_is_reported_of_padding(encoder: modelWithPooling) -> None:
    """The decoder computes it, also where the encoder runs unpadded."""
    source = source_of(encoder, *TEXTS)
    batch = batch_of(source)
    assert batch.real_tokens == sum(source.lengths)
    assert batch.padded_tokens == 6 * max(source.lengths) and batch.padding_computed
    meter = Meter([source], None, 1, 0, 1, packed=True)
    meter.count(batch)
    assert (meter.real, meter.padded) == (batch.real_tokens, batch.padded_tokens)


def test_padding_of_several_parts(encoder: modelWithPooling, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(encoder, *TEXTS)
    monkeypatch.setattr(tsdae, "parts_of", lambda *_: 3)
    assert batch_of(source).padded_tokens == padded_tokens(source.lengths, 3) < 6 * max(source.lengths)


def test_narrow_embeddings_reach_the_first_sum_in_fp32(tmp_path: Path) -> None:
    source = source_of(tiny_model(save_tiny(tmp_path / "electra", "electra")), *TEXTS)
    objective, batch = objective_of(source), batch_of(source)
    seen: list[torch.dtype] = []
    projection = objective.decoder.base_model.embeddings_project
    projection.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    with autocast(CPU, "bf16"):
        objective(batch.features)
    assert seen == [torch.float32]


def test_normalize_is_dropped_unless_told() -> None:
    folder = Path(__file__).parent / "golden" / "normalize" / "model"
    for words, layers in (([], 0), (["--normalize", "yes"], 1)):
        flags, _ = parse(
            ["--model", str(folder), "--objective", "tsdae", "--train-data", "samples-sts", *words]
        )
        assert len(build_model(flags, CPU, ["tsdae"]).layers) == layers  # type: ignore[union-attr]


def test_the_text_that_a_diagnosis_shows(encoder: modelWithPooling) -> None:
    assert _text(source_of(encoder, "a dog in the park", ratio=1.0), 0) == "'a dog in the park'"


@pytest.mark.parametrize("packed", [False, True])
def test_the_gradient_cache_and_unpadded_batches(encoder: modelWithPooling, packed: bool) -> None:
    source = source_of(encoder, *TEXTS)
    objective, batch = objective_of(source), batch_of(source)

    def gradients() -> dict[str, torch.Tensor]:
        found = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
        objective.zero_grad()
        return found

    objective(batch.features)["loss"].backward()
    whole = gradients()
    if packed:
        pack_for_training(encoder, "on", "fp32")
    casting = partial(autocast, CPU, "fp32")
    cached_backward(objective, batch.features, batch.answer, 2, torch.Tensor.backward, casting)
    found = gradients()
    assert found.keys() == whole.keys() and any("crossattention" in name for name in whole)
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str, tmp_path: Path) -> None:
    model = tiny_model(save_tiny(tmp_path / family, family))
    source = source_of(model, *TEXTS)
    objective, batch = objective_of(source), batch_of(source)
    together = objective(batch.features)["loss"]
    apart = torch.stack([objective.likelihoods(part)[0] for part in ones(batch)]).sum(0)
    assert together.item() == pytest.approx((apart[0] / apart[1]).item(), abs=1e-5)
    together.backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None and "pooler" not in n]
    assert not missing
    head, table = objective.decoder.get_output_embeddings(), model.model.get_input_embeddings()  # type: ignore[operator]
    assert head.weight is table.weight


def ones(batch: Batch) -> list[dict[str, torch.Tensor]]:
    """Each text alone."""
    return [
        {key: value[row : row + 1] for key, value in batch.features[0].items()} for row in range(batch.size)
    ]


@pytest.mark.parametrize("case", CASES)
def test_the_loss_of_sentence_transformers(case: str) -> None:
    """Value, and the norm of the gradient of every weight, of encoder and decoder (tests/golden/make_tsdae.py)."""
    golden = Path(__file__).parent / "golden"
    expected = json.loads((golden / "expected_tsdae.json").read_text(encoding="utf8"))
    model = modelWithPooling.from_pretrained(golden / case / "model")
    objective = TSDAE(model).eval()
    fill(objective.decoder)
    assert model.tokenizer is not None
    left, texts = (
        tokenize(model.tokenizer, expected[key], model.max_length).ids for key in ("left", "texts")
    )
    noisy, target = (pad(rows, model.tokenizer.pad_token_id) for rows in (left, texts))
    loss = objective([{**noisy, "target_ids": target["input_ids"], "target_mask": target["attention_mask"]}])[
        "loss"
    ]
    loss.backward()
    assert loss.item() == pytest.approx(expected[case]["loss"], abs=1e-6)
    named = {f"encoder.{name}": p for name, p in model.model.named_parameters()}
    named |= {f"decoder.{name}": p for name, p in objective.decoder.named_parameters()}
    norms = expected[case]["gradient_norms"]
    assert len(norms) > 50
    for name, norm in norms.items():
        gradient = named[name].grad
        assert gradient is not None and gradient.norm().item() == pytest.approx(norm, abs=2e-6, rel=2e-5), (
            name
        )


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("family", ["distilbert", "modernbert", "mpnet", "deberta-v2"])
def test_encoders_that_make_no_decoder(family: str, tmp_path: Path) -> None:
    model = tiny_model(save_tiny(tmp_path / family, family))
    with pytest.raises(
        RunError, match=f"--objective tsdae: {family} encoders make no decoder \\(allowed: bert, roberta,"
    ):
        TSDAE(model)


def test_a_model_that_is_a_decoder(folder: Path) -> None:
    model = tiny_model(folder)
    model.model.config.is_decoder = True  # type: ignore[union-attr]
    with pytest.raises(RunError, match="this model is a decoder already"):
        check_decodes(model)


def test_tables_that_a_config_does_not_tie(folder: Path) -> None:
    model = tiny_model(folder)
    model.model.config.tie_word_embeddings = False  # type: ignore[union-attr]
    decoder = TSDAE(model).decoder
    assert decoder.get_output_embeddings().weight is model.model.get_input_embeddings().weight  # type: ignore[operator]
    assert not model.model.config.tie_word_embeddings  # type: ignore[union-attr]


def test_a_text_of_one_token(encoder: modelWithPooling) -> None:
    assert encoder.tokenizer is not None
    encoder.tokenizer.backend_tokenizer.post_processor = processors.Sequence([])  # type: ignore[attr-defined]
    with pytest.raises(
        RunError, match="made-up-train: 'cat' is one token or none, and --objective tsdae needs two"
    ):
        source_of(encoder, *TEXTS)
    assert min(source_of(encoder, *TEXTS[:5]).lengths) == 2


def test_vectors_that_do_not_fit(folder: Path) -> None:
    wide = modelWithPooling.from_pretrained(folder, pooling_type=["mean", "cls"])
    with pytest.raises(
        RunError, match="embeddings have 64 dimensions, and a decoder of this encoder reads 32"
    ):
        TSDAE(wide)


REFUSED = {
    "cross": (["--arch", "cross"], "--objective tsdae is not one of --arch cross; allowed are auto"),
    "ratio": (["--deletion-ratio", "1.5"], "--deletion-ratio 1.5: must be at most 1"),
    "not its": (
        ["--objective", "simcse", "--deletion-ratio", "0.5"],
        "--deletion-ratio is for --objective tsdae",
    ),
    "scale": (
        ["--scale", "10"],
        "--scale is for --objective cosent and ranking and simcse; this run has tsdae",
    ),
    "teacher": (["--teacher", "minilm"], "--teacher is for --objective distill; this run has tsdae"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_flags_that_say_nothing_to_it(case: str) -> None:
    more, words = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        parse(["--objective", "tsdae", "--train-data", "samples-sts", *more])
    assert words in str(caught.value)


def test_it_takes_what_simcse_takes_and_a_rate_for_its_decoder() -> None:
    assert OBJECTIVES["bi"]["tsdae"] == OBJECTIVES["bi"]["simcse"]
    for name in ("stsb", "nli-en", "nfcorpus", "my.txt"):
        assert objectives_of(
            parse(["--train-data", name, "--objective", "tsdae", "--head-lr", "1e-4"])[0]
        ) == ["tsdae"]


# ---------------------------------------------------------------- runs

RUN: tuple[Any, ...] = ("--objective", "tsdae", "--train-data", "samples-sts-en", "--eval-data", "--dev-data")


def test_a_run_beside_another_objective(run_train: TrainRunner, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("the cat\na dog in the park\ntwo men\n", encoding="utf8")
    names = ["samples-sts-en", "samples-nli-en", "samples-mrc-en", "own.txt"]
    result = run_train(
        "--model", folder, *SMALL, "--objective", "tsdae", "simcse", "tsdae", "tsdae", "--train-data", *names,
        "--eval-data", "samples-sts-en", "--dev-data", "samples-sts-en", "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    found = json.loads((tmp_path / "run/metrics.json").read_text(encoding="utf8"))
    assert found["stages"][0]["objectives"] == ["tsdae", "simcse", "tsdae", "tsdae"]
    assert "samples-sts-en-test/spearman_cosine" in found
    modules = json.loads((tmp_path / "run/model/modules.json").read_text(encoding="utf8"))
    assert [module["type"].rpartition(".")[2] for module in modules] == ["Transformer", "Pooling"]


def test_a_stopped_run_goes_on_as_if_never_stopped(
    run_train: TrainRunner, folder: Path, tmp_path: Path
) -> None:
    flags = ["--model", folder, *RUN, "--train-limit", 24, "--batch-size", 4, "--epochs", 3, "--lr", "1e-3", "--precision",
             "fp32", "--log-steps", 1, "--cache-rows", 3]  # fmt: skip
    whole_and_resumed(run_train, *flags)
    one, other = (load_file(tmp_path / name / "model/model.safetensors") for name in ("whole", "run"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_runs_that_end_before_anything_is_trained(
    run_train: TrainRunner, folder: Path, tmp_path: Path
) -> None:
    save_tiny(tmp_path / "modern", "modernbert")
    sets = (
        "--train-data",
        "samples-sts-en",
        "samples-nli-en",
        "--objective",
        "regression",
        "tsdae",
        "--mix",
        "sequence",
    )
    result = run_train(
        "--model", "modern", *SMALL, *sets, "--eval-data", "samples-sts-en", "--output-dir", "run"
    )
    assert "modernbert encoders make no decoder" in said(result, 1)
    assert not list(tmp_path.glob("run/model*")) and not (tmp_path / "run/before.json").exists()


def test_runs_that_end_in_one_line(run_train: TrainRunner, folder: Path, tmp_path: Path) -> None:
    towers = said(run_train("--model", folder, *RUN, "--towers", "separate", "--output-dir", "c"), 1)
    assert "--objective tsdae trains one encoder; two towers take ranking or mega-batch-margin" in towers
    wide = modelWithPooling.from_pretrained(folder, pooling_type=["mean", "cls"])
    wide.save_pretrained(tmp_path / "wide")
    assert "embeddings have 64 dimensions" in said(run_train("--model", "wide", *RUN, "--output-dir", "d"), 1)
