"""IBM Model 1 against numbers worked out by hand, and the product of both directions."""

from __future__ import annotations

import numpy as np
import pytest

from sbert.word_alignment import both_ways, translation_table

# das Haus / the house, das Buch / the book, ein Buch / a book
GERMAN = [[0, 1], [0, 2], [3, 2]]
ENGLISH = [[0, 1], [0, 2], [3, 2]]
SIZES = (4, 4)


def test_one_round_by_hand() -> None:
    """With NOTHING in each sentence every link is worth 1/3: das is due 1/3 of the twice and of house and book once."""
    table = translation_table(GERMAN, ENGLISH, SIZES, rounds=1).toarray()
    assert table[0] == pytest.approx([1 / 2, 1 / 4, 1 / 4, 0])
    assert table[1] == pytest.approx([1 / 2, 1 / 2, 0, 0])
    assert table[2] == pytest.approx([1 / 4, 0, 1 / 2, 1 / 4])


def test_two_rounds_by_hand() -> None:
    """NOTHING holds (2, 1, 2, 1) / 6 after the first. Of `the` in das Haus, das gets 1/2 / (1/2 + 1/2 + 1/3) = 3/8."""
    table = translation_table(GERMAN, ENGLISH, SIZES, rounds=2).toarray()
    das = np.array([3 / 8 + (1 / 2) / (1 / 2 + 1 / 4 + 1 / 3), (1 / 4) / (1 / 4 + 1 / 2 + 1 / 6), 0, 0])
    das[2] = (1 / 4) / (1 / 4 + 1 / 2 + 1 / 3)
    assert table[0] == pytest.approx(das / das.sum())


def test_it_finds_the_translations() -> None:
    table = both_ways(GERMAN, ENGLISH, SIZES).toarray()
    assert table.argmax(1).tolist() == [0, 1, 2, 3]
    assert table.sum(1) == pytest.approx(np.ones(4))
    assert table.diagonal().min() > 0.75
    assert table.diagonal().min() > translation_table(GERMAN, ENGLISH, SIZES).toarray().diagonal().min()


def test_the_product_of_both_directions() -> None:
    """Both directions differ here, so that neither stands for the other."""
    first, second, sizes = [[0, 1], [0, 2], [0]], [[3, 0], [3, 1], [3]], (3, 4)
    there, back = (
        translation_table(first, second, sizes).toarray(),
        translation_table(second, first, (4, 3)).toarray(),
    )
    product = there * back.T
    found = both_ways(first, second, sizes).toarray()
    assert found == pytest.approx(product / product.sum(1, keepdims=True))


def test_words_that_never_occur_and_empty_sentences() -> None:
    table = both_ways([[0], [], [2]], [[1], [1], []], (3, 3)).toarray()
    assert table.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert both_ways([], [], (2, 3)).shape == (2, 3) and both_ways([], [], (2, 3)).nnz == 0
