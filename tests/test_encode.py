"""encode: whatever is given comes back in its place, and no option of speed changes a vector."""

import copy
import importlib.util
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BatchEncoding

from heads import Normalize
from sbert.chunks import padded_length
from sbert.encode import encode, length_sorted_batches, pad, tokenize
from sbert.encoder import MINILM_PACKAGE, find_model, load_tokenizer
from sbert.model import modelWithPooling

TEXTS = [
    "a man plays a guitar",
    "a dog",
    "",
    "the woman in the red dress is walking down a long street with two dogs and a child",
    "🙂",
    "한국어 문장 하나",
    "a dog 🙂 und 한국어, mixed: عربى, 中文, ру́сский",
    "a dog runs in the park",
]
WIDTH, POSITIONS = 32, 64


@pytest.fixture(scope="module")
def loaded(tiny_model_dir: Path) -> modelWithPooling:
    return modelWithPooling.from_pretrained(tiny_model_dir)


@pytest.fixture
def model(loaded: modelWithPooling) -> modelWithPooling:
    """A copy of its own for each test."""
    return copy.deepcopy(loaded)


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Messages of the project's logger, even where a run before has cut it off from its parents."""
    monkeypatch.setattr(logging.getLogger("sbert"), "propagate", True)
    caplog.set_level("WARNING", logger="sbert")
    return caplog


def shapes_seen(model: modelWithPooling) -> list[tuple[int, int]]:
    """(B, T) of every batch that goes through the encoder from now on."""
    seen: list[tuple[int, int]] = []
    model.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    return seen


def by_hand(model: modelWithPooling, text: str, prompt_tokens: int = 0) -> np.ndarray:
    """The embedding of one text alone, (D,)."""
    inputs = model.tokenizer(text, return_tensors="pt", truncation=True, max_length=model.max_length)
    with torch.no_grad():
        out = model(inputs["input_ids"], inputs["attention_mask"], prompt_tokens=prompt_tokens)
    return out["sentence_embedding"][0].numpy()


def close(found: np.ndarray, expected: np.ndarray, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)


# ---------------------------------------------------------------- order, duplicates, batches


def test_order_is_restored(model: modelWithPooling) -> None:
    found = model.encode(TEXTS, batch_tokens=40)
    assert found.shape == (len(TEXTS), WIDTH)
    assert found.dtype == np.float32
    close(found, np.stack([by_hand(model, text) for text in TEXTS]))
    assert min(np.abs(found[i] - found[j]).max() for i in range(8) for j in range(i)) > 0.05


def test_a_permutation_of_the_texts_permutes_the_vectors(model: modelWithPooling) -> None:
    order = [5, 2, 7, 0, 1, 6, 4, 3]
    close(model.encode([TEXTS[i] for i in order]), model.encode(TEXTS)[order])


def test_duplicates_are_embedded_once(model: modelWithPooling) -> None:
    seen = shapes_seen(model)
    encoded = encode(model, [TEXTS[1], TEXTS[0], TEXTS[1], TEXTS[1], TEXTS[0]])
    assert sum(rows for rows, _ in seen) == encoded.distinct == 2
    assert encoded.embeddings.shape == (5, WIDTH)
    for i, j in ((0, 2), (0, 3), (1, 4)):
        assert np.array_equal(encoded.embeddings[i], encoded.embeddings[j])
    close(encoded.embeddings[:2], np.stack([by_hand(model, TEXTS[1]), by_hand(model, TEXTS[0])]))


@pytest.mark.parametrize("batch_tokens", [1, 7, 20, 64, 100_000])
def test_batch_size_changes_no_vector(model: modelWithPooling, batch_tokens: int) -> None:
    expected = model.encode(TEXTS)
    seen = shapes_seen(model)
    close(model.encode(TEXTS, batch_tokens=batch_tokens), expected, atol=1e-6)
    assert all(rows == 1 or rows * width <= batch_tokens for rows, width in seen)
    assert sum(rows for rows, _ in seen) == len(TEXTS)
    assert len(seen) == {1: 8, 100_000: 1}.get(batch_tokens, len(seen))


def test_batches_by_hand() -> None:
    """Longest first; rows x longest within the budget; too long for it: alone; ties in the order given."""
    batches = length_sorted_batches([3, 9, 3, 4, 1, 4], 8)
    assert list(batches) == [[1], [3, 5], [0, 2], [4]]
    assert list(length_sorted_batches([], 8)) == []


def test_padding_share(model: modelWithPooling) -> None:
    seen = shapes_seen(model)
    encoded = encode(model, TEXTS)
    tokens = sum(len(model.tokenizer(text)["input_ids"]) for text in TEXTS)
    assert encoded.padding_share == pytest.approx(1 - tokens / sum(rows * width for rows, width in seen))
    assert encode(model, TEXTS[:1]).padding_share == 0.0


def test_in_half_precision_sizes_recur(model: modelWithPooling) -> None:
    """Widths are padded to a few that recur, but not beyond what the model takes; vectors are the same."""
    texts = ["the " * n for n in (23, 25, 47, 48, 60)]  # and [CLS], [SEP]
    assert model.max_length == 64
    expected, seen = encode(model, texts).embeddings, shapes_seen(model)
    found = encode(model, texts, precision="bf16", batch_tokens=1)
    assert [width for _, width in seen] == [64, 52, 52, 28, 26]
    assert found.padding_share == pytest.approx(1 - (62 + 50 + 49 + 27 + 25) / (64 + 52 + 52 + 28 + 26))
    close(found.embeddings, expected, 0.05)
    model.max_length = 50
    encode(model, texts[3:], precision="bf16", batch_tokens=1)
    assert [width for _, width in seen[5:]] == [50, 50]


def test_padded_lengths() -> None:
    assert [padded_length(n) for n in (0, 1, 24, 25, 48, 49, 97, 500, 512)] == [
        0,
        1,
        24,
        26,
        48,
        52,
        104,
        512,
        512,
    ]
    assert all(n <= padded_length(n) <= n * 13 / 12 for n in range(1, 5000))
    assert len({padded_length(n) for n in range(1, 513)}) == 76


def test_pad_on_either_side() -> None:
    right, left = pad([[5, 6, 7], [8]], 9), pad([[5, 6, 7], [8]], 9, "left")
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert left["input_ids"].tolist() == [[5, 6, 7], [9, 9, 8]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert pad([[], [4]], 0, "left")["attention_mask"].tolist() == [[0], [1]]
    assert pad([[]], 3)["input_ids"].tolist() == [[3]]  # never a tensor without columns


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_padding_side_is_used(model: modelWithPooling, side: str) -> None:
    model.tokenizer.padding_side = side
    masks: list[torch.Tensor] = []
    model.model.register_forward_pre_hook(
        lambda _, __, inputs: masks.append(inputs["attention_mask"]), with_kwargs=True
    )
    model.encode(["a man in the dog", "a dog"])
    assert masks[0].tolist() == [[1] * 7, [0] * 3 + [1] * 4 if side == "left" else [1] * 4 + [0] * 3]


# ---------------------------------------------------------------- unusual texts


def test_a_single_string_gives_one_vector(model: modelWithPooling) -> None:
    found = model.encode("a dog")
    assert found.shape == (WIDTH,)
    close(found, by_hand(model, "a dog"))


def test_no_texts(model: modelWithPooling) -> None:
    encoded = encode(model, [])
    assert encoded.embeddings.shape == (0, WIDTH)
    assert encoded.embeddings.dtype == np.float32
    assert (encoded.distinct, encoded.truncated, encoded.padding_share) == (0, 0, 0.0)
    assert model.encode([], truncate_dim=5, normalize=True).shape == (0, 5)


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "🙂", "👩‍👩‍👧", "\x00", "\ufeff", "한국어 and English, вместе"]
)
def test_odd_texts_are_finite_and_do_not_touch_their_neighbours(model: modelWithPooling, text: str) -> None:
    found = model.encode([text, "a dog runs in the park"])
    assert np.isfinite(found).all()
    close(found, np.stack([by_hand(model, text), by_hand(model, "a dog runs in the park")]))


def test_ten_thousand_words_are_cut_counted_and_reported(
    model: modelWithPooling, warned: pytest.LogCaptureFixture
) -> None:
    text = "man dog " * 5000
    seen = shapes_seen(model)
    encoded = encode(model, [text, "a dog", text])
    assert encoded.truncated == 1  # of the distinct texts
    assert max(width for _, width in seen) == POSITIONS == model.max_length
    assert warned.messages == ["1 of 2 texts are longer than 64 tokens and were truncated"]
    ids = [model.tokenizer.convert_tokens_to_ids(token) for token in ("man", "dog")] * 31
    whole = torch.tensor([[model.tokenizer.cls_token_id, *ids, model.tokenizer.sep_token_id]])
    expected = model(whole, torch.ones_like(whole))["sentence_embedding"][0].detach().numpy()
    close(encoded.embeddings[0], expected)


def test_a_text_of_exactly_the_limit_is_not_truncated(
    model: modelWithPooling, warned: pytest.LogCaptureFixture
) -> None:
    model.max_length = 10
    assert encode(model, ["dog " * 8]).truncated == 0
    assert warned.messages == []
    assert encode(model, ["dog " * 9, "dog " * 8, "dog " * 40]).truncated == 2
    assert len(warned.messages) == 1


def test_the_tokenizers_own_limit_counts_where_the_directory_gives_none(model: modelWithPooling) -> None:
    model.tokenizer.model_max_length = 12
    seen = shapes_seen(model)
    assert encode(model, ["dog " * 20]).truncated == 1
    assert seen == [(1, 12)]


def test_tokenize_counts_without_a_fast_tokenizer() -> None:
    """A tokenizer written in Python says nothing of what it cut; the count must be the same."""

    def slow(texts: list[str], max_length: int = 10**9, **_: object) -> BatchEncoding:
        ids = [[1, *range(5, 5 + min(len(text.split()), max_length - 2)), 2] for text in texts]
        return BatchEncoding({"input_ids": ids})

    tokens = tokenize(slow, ["a", "a b c d e f", "a b", "a b c"], 4)  # type: ignore[arg-type]
    assert tokens.ids == [[1, 5, 2], [1, 5, 6, 2], [1, 5, 6, 2], [1, 5, 6, 2]]
    assert tokens.truncated == 2


def test_lower_casing_is_done_when_the_directory_asks_for_it(model: modelWithPooling) -> None:
    assert tokenize(model.tokenizer, ["Ä DOG"], 64, lower=True) == tokenize(model.tokenizer, ["ä dog"], 64)
    model.tokenizer.backend_tokenizer.normalizer = None
    upper, lower = model.encode(["DOG", "dog"])
    assert np.abs(upper - lower).max() > 0.05
    model.description.do_lower_case = True
    close(model.encode("DOG"), lower)


# ---------------------------------------------------------------- options


@pytest.fixture
def prompted(model: modelWithPooling) -> modelWithPooling:
    model.description.prompts = {"query": "the man ", "document": "a dog ", "none": ""}
    return model


def test_prompts_are_put_before_the_text(prompted: modelWithPooling) -> None:
    asked = prompted.encode("the man in the park")
    close(prompted.encode("in the park", prompt_name="query"), asked)
    close(prompted.encode("in the park", prompt="the man "), asked)
    close(prompted.encode_query("in the park"), asked)
    close(prompted.encode_document("in the park"), prompted.encode("a dog in the park"))
    assert np.abs(asked - prompted.encode("in the park")).max() > 0.05


def test_the_default_prompt_and_how_to_leave_it_out(prompted: modelWithPooling) -> None:
    plain = prompted.encode("in the park")
    prompted.description.default_prompt = "query"
    close(prompted.encode("in the park"), prompted.encode("the man in the park", prompt=""))
    close(prompted.encode("in the park", prompt=""), plain)
    close(prompted.encode("in the park", prompt_name="none"), plain)


def test_a_prompt_that_is_read_but_not_pooled(prompted: modelWithPooling) -> None:
    """Its two words and the opening token are left out of the mean; the closing token of the text is in."""
    prompted.description.include_prompt = False
    found = prompted.encode("in the park", prompt_name="query")
    close(found, by_hand(prompted, "the man in the park", prompt_tokens=3))
    assert np.abs(found - by_hand(prompted, "the man in the park")).max() > 0.01
    close(prompted.encode("in the park"), by_hand(prompted, "in the park"))


@pytest.mark.parametrize("name", ["Query", "passage", ""])
def test_unknown_prompt_name(prompted: modelWithPooling, name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"prompt_name '{name}': this model has \['document', 'none', 'query'\]"
    ):
        prompted.encode("a dog", prompt_name=name)


def test_a_prompt_name_where_there_are_none(model: modelWithPooling) -> None:
    with pytest.raises(ValueError, match="prompt_name 'query': this model has no prompts"):
        model.encode("a dog", prompt_name="query")
    close(model.encode_query("a dog"), model.encode("a dog"))


def test_truncate_dim_then_normalize(model: modelWithPooling) -> None:
    full = model.encode(TEXTS)
    assert np.array_equal(model.encode(TEXTS, truncate_dim=5), full[:, :5])
    close(model.encode(TEXTS, normalize=True), full / np.linalg.norm(full, axis=1, keepdims=True))
    both = model.encode(TEXTS, truncate_dim=5, normalize=True)
    close(both, full[:, :5] / np.linalg.norm(full[:, :5], axis=1, keepdims=True))
    model.description.truncate_dim = 7
    assert model.encode(TEXTS).shape == (8, 7)
    assert model.encode(TEXTS, truncate_dim=3).shape == (8, 3)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_restored(model: modelWithPooling, training: bool) -> None:
    """Vectors are those of eval mode (no dropout) whichever mode the model was in."""
    expected = model.encode(TEXTS)
    assert any(m.p > 0 for m in model.modules() if isinstance(m, torch.nn.Dropout))
    model.train(training)
    assert np.array_equal(model.encode(TEXTS), expected)
    assert model.training is training
    assert model.model.training is training


def test_the_models_mode_is_restored_after_an_error(model: modelWithPooling) -> None:
    model.train()
    model.model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.encode(TEXTS)
    assert model.training


def test_bf16_gives_fp32_vectors_near_the_exact_ones(model: modelWithPooling) -> None:
    model.layers.append(Normalize())
    exact, half = model.encode(TEXTS), model.encode(TEXTS, precision="bf16")
    assert half.dtype == np.float32
    assert 1e-5 < np.abs(half - exact).max() < 0.05


def test_encode_needs_a_tokenizer(model: modelWithPooling) -> None:
    model.tokenizer = None
    with pytest.raises(ValueError, match="encode needs a model with a tokenizer"):
        model.encode("a dog")


WORDS = ("time", "way", "year", "day", "thing", "man", "world", "life", "hand", "child", "eye")


@pytest.fixture(scope="module")
def minilm() -> modelWithPooling:
    if importlib.util.find_spec(MINILM_PACKAGE) is None:
        pytest.skip(f"the package {MINILM_PACKAGE} is not installed")
    return modelWithPooling.from_pretrained("minilm")


def words(count: int) -> str:
    """So many words of one token each."""
    return " ".join(WORDS[(i * i + i // 7) % len(WORDS)] for i in range(count))


def test_minilm_reads_past_the_128_tokens_baked_into_its_tokenizer(
    minilm: modelWithPooling, warned: pytest.LogCaptureFixture
) -> None:
    baked = json.loads((find_model("minilm") / "tokenizer.json").read_text(encoding="utf8"))
    assert baked["truncation"]["max_length"] == 128
    assert baked["padding"]["strategy"] == {"Fixed": 128}
    fresh = load_tokenizer(find_model("minilm")).backend_tokenizer
    assert fresh.truncation is None
    assert fresh.padding is None
    assert minilm.max_length == 256
    seen = shapes_seen(minilm)
    encoded = encode(minilm, [words(198), words(126), words(1)], batch_tokens=1)
    assert seen == [(1, 200), (1, 128), (1, 3)]  # two special tokens each, and no padding
    assert warned.messages == []
    assert float(encoded.embeddings[0] @ encoded.embeddings[1]) < 0.999  # more than its first 126 words
    seen.clear()
    encoded = encode(minilm, [words(298), words(254), words(198)], batch_tokens=1)
    assert sorted(seen) == [(1, 200), (1, 256), (1, 256)]
    assert encoded.truncated == 1
    assert warned.messages == ["1 of 3 texts are longer than 256 tokens and were truncated"]
    close(encoded.embeddings[0], encoded.embeddings[1])  # its first 254 words
