"""Windows over long passages: no word lost, no window too long, the best one counts."""

import itertools
import random

import numpy as np
import pytest
from tiny_models import ROBERTA_SPECIALS, tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sbert.errors import RunError
from sbert.retrieval.search import Ranking, exact_search
from sbert.retrieval.windows import best_of, best_windows, cut_texts, holding, most_windows, of_passages


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, a punctuation mark or (where unknown) a run of letters; nothing is put around a text."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, a blank counted to the word after it, as in GPT-2 and RoBERTa."""
    letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(letters, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_windows_by_hand() -> None:
    tokenizer = word_tokenizer()
    text = "a b c d e f g h i j"
    assert cut_texts(tokenizer, [text], 4, 3)[0] == ["a b c d", "d e f g", "g h i j"]
    assert cut_texts(tokenizer, [text], 4, 4)[0] == ["a b c d", "e f g h", "g h i j"]  # not "i j" alone
    assert cut_texts(tokenizer, [text], 4)[0] == ["a b c d", "c d e f", "e f g h", "g h i j"]  # half the room
    assert cut_texts(tokenizer, [text], 6, 4, reserve=2)[0] == ["a b c d", "e f g h", "g h i j"]
    # "c.d" is three tokens and one word: it is not taken apart, and the next window begins with a word
    assert cut_texts(tokenizer, ["a b c.d e f"], 4, 2)[0] == ["a b", "c.d e", "e f"]


def test_special_tokens_count() -> None:
    for tokenizer in (tiny_tokenizer(), tiny_tokenizer(ROBERTA_SPECIALS)):
        windows, owner = cut_texts(tokenizer, ["a a a a a", "a a a a"], 6, 4)
        assert windows == ["a a a a", "a a a a", "a a a a"] and owner.tolist() == [0, 0, 1]


@pytest.mark.parametrize("text", ["", " ", "a", "  a man\n\nis  playing ", "고양이가 앉았다."])
def test_a_text_that_fits_is_itself(text: str) -> None:
    windows, owner = cut_texts(tiny_tokenizer(), [text], 64)
    assert windows == [text] and owner.tolist() == [0]


WORDS = [
    "a",
    "man",
    "playing",
    "guitar,",
    "1,394",
    "고양이가",
    "학교에서",
    "naïve",
    "🙂",
    "東京都",
    "x" * 30,
    "(so)",
]


@pytest.mark.parametrize("make", [tiny_tokenizer, word_tokenizer, byte_tokenizer])
def test_no_word_is_lost_and_no_window_is_too_long(make) -> None:  # type: ignore[no-untyped-def]
    tokenizer, draw = make(), random.Random(0)
    for trial in range(60):
        chosen = [f"{draw.choice(WORDS)}~{i}" for i in range(draw.randint(1, 40))]
        text = draw.choice([" ", "  ", "\n"]).join(chosen)
        width = draw.randint(50, 80)
        special = tokenizer.num_special_tokens_to_add(pair=False)
        stride = draw.choice([None, 1, 10, width - special])
        windows, owner = cut_texts(tokenizer, ["short", text, text], width, stride)
        own = [window for window, i in zip(windows, owner, strict=True) if i == 1]
        assert max(len(tokenizer(window)["input_ids"]) for window in windows) <= width
        assert [word for i, word in enumerate(chosen) if not any(word in w.split() for w in own)] == []
        assert {word for window in own for word in window.split()} == set(chosen)  # none taken apart either
        starts = [chosen.index(window.split()[0]) for window in own]
        assert all(a < b for a, b in itertools.pairwise(starts))
        assert len(own) == 1 or (own[-1].split()[-1] == chosen[-1] and own[0].split()[0] == chosen[0]), trial
        assert own == [window for window, i in zip(windows, owner, strict=True) if i == 2]


HAN = "".join(chr(0x4E00 + i) for i in range(150))  # every character another, so that its place is known
HANGUL = "".join(chr(0xAC00 + i) for i in range(150))


@pytest.mark.parametrize(
    "make, text",
    [
        (tiny_tokenizer, HAN),
        (tiny_tokenizer, HAN + " end"),
        (byte_tokenizer, HAN),
        (byte_tokenizer, HANGUL),
        (byte_tokenizer, "a " + HANGUL),
        (byte_tokenizer, HANGUL + " 🙂 end"),
    ],
    ids=["han", "han and a word", "han bytes", "hangul bytes", "after a word", "before words"],
)
def test_a_word_longer_than_a_window_is_cut_inside(make, text: str) -> None:  # type: ignore[no-untyped-def]
    tokenizer = make()
    windows, _ = cut_texts(tokenizer, [text], 40)
    assert max(len(tokenizer(window)["input_ids"]) for window in windows) <= 40
    assert text.startswith(windows[0]) and text.endswith(windows[-1])
    starts = [text.index(window) for window in windows]
    ends = [start + len(window) for start, window in zip(starts, windows, strict=True)]
    assert starts == sorted(set(starts)) and len(windows) > 3
    assert all(not text[end:start].strip() for end, start in zip(ends, starts[1:], strict=False))


def test_letters_of_a_long_word() -> None:
    """Pieces of a word, which begin with ## inside it, stay within the limit as texts of their own."""
    tokenizer = tiny_tokenizer()
    windows, _ = cut_texts(tokenizer, ["a" + "bcde" * 20], 12)
    assert len(windows) > 5
    assert max(len(tokenizer(window)["input_ids"]) for window in windows) <= 12
    assert set("".join(windows)) == set("abcde")


def test_strides_are_kept() -> None:
    """Windows of words of one token: starts are ``stride`` apart, the last as wide as the others."""
    tokenizer = word_tokenizer()
    for count in range(1, 30):
        names = [f"w{i}" for i in range(count)]
        for room in range(1, 9):
            for stride in range(1, room + 1):
                windows = [
                    window.split() for window in cut_texts(tokenizer, [" ".join(names)], room, stride)[0]
                ]
                starts = [names.index(window[0]) for window in windows]
                assert all(0 < b - a <= stride for a, b in itertools.pairwise(starts))
                assert {len(window) for window in windows} == {min(count, room)}
                assert len(windows) == 1 + -(-max(count - room, 0) // stride)


def test_lower_casing_models() -> None:
    """The model's lower-casing decides what fits; the windows keep their letters."""
    tokenizer = tiny_tokenizer()
    text = " ".join(["İstanbul", "Man"] * 20)
    windows, _ = cut_texts(tokenizer, [text], 30, lower=True)
    assert len(windows) > 1 and "Man" in windows[0]
    assert max(len(tokenizer(window.lower())["input_ids"]) for window in windows) <= 30
    assert text.startswith(windows[0]) and text.endswith(windows[-1])


@pytest.mark.parametrize(
    "width, stride, reserve, message",
    [
        (2, None, 0, r"--max-length 2: 2 special tokens and 0 of the prompt leave no room"),
        (9, None, 7, "2 special tokens and 7 of the prompt leave no room"),
        (5, 0, 0, "--stride 0: allowed are 1 to 3"),
        (5, 4, 0, "--stride 4: allowed are 1 to 3"),
        (5, 3, 1, "--stride 3: allowed are 1 to 2"),
    ],
)
def test_what_windows_refuse(width: int, stride: int | None, reserve: int, message: str) -> None:
    with pytest.raises(RunError, match=message):
        cut_texts(tiny_tokenizer(), ["a a a"], width, stride, reserve=reserve)


def test_a_tokenizer_without_offsets() -> None:
    """It can tell that a text fits, and says so where one does not."""

    class Found(dict):  # type: ignore[type-arg]
        encodings = None

    class Plain:
        def num_special_tokens_to_add(self, pair: bool) -> int:
            return 2

        def __call__(self, texts: list[str], **options: object) -> Found:
            return Found(input_ids=[text.split() for text in texts])

    assert cut_texts(Plain(), ["a b", "c"], 4)[0] == ["a b", "c"]
    with pytest.raises(RunError, match=r"'a b c' \.\.\. has more than 2 tokens, and this tokenizer"):
        cut_texts(Plain(), ["a b c"], 4)


def test_many_texts_keep_their_owner() -> None:
    """More than one call of the tokenizer."""
    texts = ["a a a a a" if i % 500 == 3 else "a" for i in range(2500)]
    windows, owner = cut_texts(tiny_tokenizer(), texts, 6, 4)
    assert len(windows) == 2505
    assert np.flatnonzero(np.bincount(owner) == 2).tolist() == [3, 503, 1003, 1503, 2003]
    assert most_windows(owner) == 2
    windows, owner = cut_texts(tiny_tokenizer(), [], 6)
    assert windows == [] and owner.tolist() == [] and most_windows(owner) == 1


def test_the_window_that_holds_an_answer() -> None:
    windows = ["in 1394 the king", "the king built", "built a palace"]
    assert holding(windows, ["the king built"]) == 1
    assert holding(windows, ["a palace", "1394"]) == 0
    assert holding(windows, ["palace"]) == 2
    assert holding(windows, ["queen"]) == holding(windows, []) == 0


def test_best_windows_are_named() -> None:
    owner = np.array([0, 0, 1, 2, 2])
    hits = Ranking([[4, 3, 1, 0, 2], []], [np.array([5.0, 4, 3, 2, 1]), np.array([])])
    found, windows = best_windows(hits, owner, 2)
    assert found.ids == [[2, 0], []] and windows == [[4, 1], []]
    assert found.scores[0].tolist() == [5, 3]


def test_the_best_window_counts() -> None:
    owner = np.array([0, 0, 2, 1, 2])
    scores = np.array([[1.0, 5, 2, 3, 4], [-1, -5, -2, -3, -4]], dtype=np.float32)
    assert best_of(scores, owner).tolist() == [[5, 3, 4], [-1, -3, -2]]
    assert best_of(scores[0], owner).tolist() == [5, 3, 4]
    assert best_of(scores, owner, 4)[:, 3].tolist() == [-np.inf, -np.inf]
    assert best_of(scores, owner).dtype == np.float32
    with pytest.raises(ValueError, match=r"scores \(2, 5\) and owner \(4,\)"):
        best_of(scores, owner[:4])


def test_a_ranking_of_windows_becomes_one_of_passages() -> None:
    rng = np.random.default_rng(6)
    owner = np.sort(rng.integers(0, 9, 40))
    owner = np.unique(owner, return_inverse=True)[1]
    queries, windows = rng.normal(size=(5, 12)), rng.normal(size=(40, 12))
    for k in (1, 3, 100):
        deep = exact_search(queries, windows, k * most_windows(owner), passage_chunk=9)
        found = of_passages(deep, owner, k)
        unit = windows / np.linalg.norm(windows, axis=1, keepdims=True)
        scores = best_of(queries / np.linalg.norm(queries, axis=1, keepdims=True) @ unit.T, owner)
        assert found.ids == np.argsort(-scores, axis=1)[:, :k].tolist()
        for row, i, ids in zip(found.scores, scores, found.ids, strict=True):
            assert row == pytest.approx(i[ids], abs=1e-6)
    empty = of_passages(Ranking([[]], [np.array([], dtype=np.float32)]), owner, 3)
    assert empty.ids == [[]] and len(empty.scores[0]) == 0
