"""Reader of parallel text: English sentences, each with its Korean translation.

A split is one file of pairs (Tatoeba) or two whose lines belong together, of four kinds, told apart by the folder that
the registry keeps them in. Sentences that repeat with the same translation count once. Behind the files of a training
split stand those whose texts are reported elsewhere ("held out"): a pair is left out of training when either of its
texts is among them, compared by letters and digits alone, in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data.examples import Example
from data.readers.sts import STSB_LAYOUT, read_klue_sts
from data.readers.text import Place, Raw, sentence, short

Pair = tuple[str, str]  # English, Korean
TATOEBA_TRAIN, TATOEBA_TEST = 4749, 1000  # the first and the last lines of kor.txt, which is sorted by length


def read_parallel(raws: list[Raw], split: str) -> tuple[list[Example], int]:
    """(English, Korean) pairs of the first one or two files; the others are held out. Skipped: repeats and those."""
    own, *held_out = _groups(raws)
    pairs = list(_pairs(own, split))
    forbidden = {letters(text) for group in held_out for pair in _pairs(group, "test") for text in pair}
    kept = [pair for pair in dict.fromkeys(pairs) if not {letters(text) for text in pair} & forbidden]
    return [Example(pair, None) for pair in kept], len(pairs) - len(kept)


def letters(text: str) -> str:
    """What two writings of one sentence share: its letters and digits, in lower case."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _groups(raws: list[Raw]) -> list[list[Raw]]:
    """Files that belong together: one of pairs, or two sides."""
    out, rest = [], list(raws)
    while rest:
        count = 1 if rest[0].name.endswith(("kor.txt", ".json")) else 2
        out.append(rest[:count])
        rest = rest[count:]
    return out


def _pairs(group: list[Raw], split: str) -> Iterator[Pair]:
    """Every pair of a group's split; of KLUE-STS, which has no translation, the two Korean sentences."""
    name = group[0].name
    if name.endswith("kor.txt"):
        return _tatoeba(group[0], split)
    if name.startswith("klue/"):
        return ((e.texts[0], e.texts[1]) for e in read_klue_sts(group, split)[0])
    if name.startswith("stsb/"):
        return _sts(*group)
    return _xnli(*group) if name.startswith("xnli-en/") else _lines(*group)


def _tatoeba(raw: Raw, split: str) -> Iterator[Pair]:
    """Tab-separated: English, Korean, attribution."""
    rows = list(raw.rows(2, "English, Korean, attribution"))
    for line, cells in rows[:TATOEBA_TRAIN] if split == "train" else rows[-TATOEBA_TEST:]:
        yield sentence(raw, line, cells[0]), sentence(raw, line, cells[1])


def _lines(english: Raw, korean: Raw) -> Iterator[Pair]:
    """One sentence a line on either side."""
    for (line, first), (_, second) in _together(list(english.lines()), list(korean.lines()), english, korean):
        yield sentence(english, line, first), sentence(korean, line, second)


def _sts(english: Raw, korean: Raw) -> Iterator[Pair]:
    """stsb and korsts: genre, file, year, id and score must agree; sentence1 with sentence1, sentence2 with sentence2."""
    korean_rows = list(korean.rows(7, STSB_LAYOUT))[1:]  # without its header
    for (line, ours), (place, theirs) in _together(
        list(english.rows(7, STSB_LAYOUT)), korean_rows, english, korean
    ):
        _agree(korean, place, ours[:5], theirs[:5], f"{english.where}:{line}")
        for side in (5, 6):
            yield sentence(english, line, ours[side]), sentence(korean, place, theirs[side])


def _xnli(english: Raw, korean: Raw) -> Iterator[Pair]:
    """XNLI and KorNLI: premise with premise, hypothesis with hypothesis; the labels, where both have one, must agree."""
    korean_rows = list(korean.rows(3, "sentence1, sentence2, gold_label"))[1:]
    if english.name.startswith("xnli-en/xnli."):  # all languages in one file, out of the publisher's zip
        table = english.table("language", "sentence1", "sentence2", "gold_label")
        english_rows = [(line, cells[1:]) for line, cells in table if cells[0] == "en"]
    else:
        english_rows = list(english.rows(2, "sentence1, sentence2"))
    for (line, ours), (place, theirs) in _together(english_rows, korean_rows, english, korean):
        _agree(korean, place, ours[2:3], theirs[2 : 2 + len(ours[2:3])], f"{english.where}:{line}")
        for side in (0, 1):
            yield sentence(english, line, ours[side]), sentence(korean, place, theirs[side])


def _together(ours: list[Any], theirs: list[Any], english: Raw, korean: Raw) -> Iterator[tuple[Any, Any]]:
    if len(ours) != len(theirs):
        korean.fail(None, f"{len(theirs)} rows for the {len(ours)} of {english.where}")
    return zip(ours, theirs, strict=True)


def _agree(raw: Raw, place: Place, ours: list[str], theirs: list[str], where: str) -> None:
    if ours != theirs:
        raw.fail(
            place, f"{short(theirs)} is not what {where} says, {short(ours)}: not translations row by row"
        )
