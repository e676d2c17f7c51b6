"""Learning WordPiece tokens: merges by hand, ties, and the trainer of the tokenizers library where there are none."""

from __future__ import annotations

from collections import Counter

from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import WordPiece

from sbert.wordpiece import count_words, learn_wordpieces

LETTERS = ["a", "b", "c", "##a", "##b", "##c"]  # of the first words


def test_merges_by_hand() -> None:
    """a ##b stands 5 times, then ab ##c 3 times; b ##a but once, which is too rare."""
    words = {"ab": 2, "abc": 3, "ba": 1}
    assert learn_wordpieces(words, 100) == [*LETTERS, "ab", "abc"]
    assert learn_wordpieces(words, 7) == [*LETTERS, "ab"]
    assert learn_wordpieces(words, 1) == LETTERS
    assert learn_wordpieces(words, 100, min_frequency=1) == [*LETTERS, "ab", "abc", "ba"]


def test_inside_a_word_a_merge_keeps_its_mark() -> None:
    assert learn_wordpieces({"cab": 4, "bab": 3}, 100)[5:] == ["##ab", "cab", "bab"]


def test_a_pair_that_overlaps_itself() -> None:
    """##a ##a stands three times in one word of five, and is merged twice from the left."""
    assert learn_wordpieces({"aaaaa": 2}, 100)[2:] == ["##aa", "##aaaa", "aaaaa"]


def test_ties_go_by_the_alphabet_and_not_by_the_order_of_the_text() -> None:
    words = {"ca": 2, "ab": 2, "bc": 2}
    assert learn_wordpieces(words, 100)[6:] == ["ab", "bc", "ca"]
    assert learn_wordpieces(dict(reversed(words.items())), 100) == learn_wordpieces(words, 100)


def test_as_the_library_where_there_are_no_ties() -> None:
    words = {"xy": 3, "xyz": 4, "고양": 9, "고양이": 20, "이": 2}
    theirs = Tokenizer(WordPiece(unk_token="[UNK]"))
    theirs.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordPieceTrainer(vocab_size=1000, min_frequency=2, show_progress=False)
    theirs.train_from_iterator([f"{word} " * count for word, count in words.items()], trainer)
    ours = set(learn_wordpieces(words, 1000))
    assert set(theirs.get_vocab()) <= ours and {"xyz", "고양이"} <= ours
    assert ours == set(theirs.get_vocab())


def test_rare_letters_are_left_out() -> None:
    assert learn_wordpieces({"ab": 2, "가": 1, "a가": 1}, 100) == ["a", "b", "가", "##b", "##가", "ab"]
    assert learn_wordpieces({"ab": 2, "가": 1}, 100) == ["a", "b", "##b", "ab"]
    assert learn_wordpieces({"ab": 2, "가": 1}, 100, min_frequency=1) == ["a", "b", "가", "##b", "ab"]


def test_words_are_counted_as_the_tokenizer_cuts_them() -> None:
    assert count_words(["a  b", "a"], None, None) == Counter({"a": 2, "b": 1})
