"""Sets for retrieval of SQuAD layout: passages, splits by article, the file of ids, the samples."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import data
from data.files import sha256_of
from data.readers.squad import passage_id, split_articles
from data.sets_retrieval import RETRIEVAL_SETS

KORQUAD = "korquad/KorQuAD_v1.0_dev.json"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data dir, an empty cache, and made-up files accepted in place of the published ones."""
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SBERT_ANY_HASH", "1")


def asked(identity: object, text: str = "누가 그렸나?", *answers: str, **more: object) -> dict[str, Any]:
    found = [{"text": answer, "answer_start": 0} for answer in answers]
    return {"id": identity, "question": text, "answers": found, **more}


def article(title: str | None, *paragraphs: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "paragraphs": [{"context": text, "qas": questions} for text, questions in paragraphs]
    }
    return whole if title is None else {"title": title, **whole}


def squad(folder: Path, name: str, *articles: dict[str, Any]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "1.1", "data": list(articles)}), encoding="utf-8")
    return path


def load(name: str, folder: Path) -> data.RetrievalSet:
    return data.load_retrieval(name, data_dir=folder, download=False)


def many(number: int) -> list[dict[str, Any]]:
    """Articles with one paragraph and one question each."""
    return [
        article(f"글_{n}", (f"{n}번째 문단이다.", [asked(f"q{n}", f"질문 {n}?", "답")]))
        for n in range(number)
    ]


def test_own_file_of_squad_layout(tmp_path: Path) -> None:
    questions = [asked("a1", " 언제 지었나? ", "1394년", "1394년", " 태조 "), asked(7, answers=[], title="x")]
    path = squad(
        tmp_path, "mine.json", article("경복궁", ("  조선의 궁궐이다.\n", questions)), article("빈 글")
    )
    found = data.load_retrieval(str(path))
    passage = data.Passage(passage_id("조선의 궁궐이다."), "조선의 궁궐이다.", "경복궁")
    assert found.passages == [passage]
    assert found.questions == [
        data.Question("a1", "언제 지었나?", ("1394년", "태조")),
        data.Question("7", "누가 그렸나?"),
    ]
    assert found.relevant == {"a1": {passage.id: 1}, "7": {passage.id: 1}}
    assert (found.name, found.split, found.key, found.language) == ("mine", "all", "mine", "unknown")
    assert found.files == {str(path): sha256_of(path)}
    assert found.articles == ("경복궁",)
    packed = tmp_path / "mine.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    again = data.load_retrieval(str(packed), "all")
    assert (again.name, again.passages, again.files) == (
        "mine",
        found.passages,
        {str(packed): sha256_of(path)},
    )


def test_passage_id_is_a_hash_prefix_of_the_text() -> None:
    assert passage_id("한강") == hashlib.sha256("한강".encode()).hexdigest()[:16]


def test_same_text_is_one_passage(tmp_path: Path) -> None:
    """Within an article and across articles; title and place are those of the first."""
    path = squad(
        tmp_path,
        "x.json",
        article("가", ("하나", [asked("1")]), ("둘", [asked("2")]), (" 하나 ", [asked("3")])),
        article(None, ("셋", []), ("둘", [asked("4")])),
    )
    found = data.load_retrieval(str(path))
    assert [(p.text, p.title) for p in found.passages] == [("하나", "가"), ("둘", "가"), ("셋", "")]
    one, two, _ = (p.id for p in found.passages)
    assert found.relevant == {"1": {one: 1}, "2": {two: 1}, "3": {one: 1}, "4": {two: 1}}


def test_impossible_questions_are_skipped_and_counted(tmp_path: Path) -> None:
    """KLUE-MRC: ``guid`` for ``id``; the paragraph of an impossible question stays in the pool."""
    possible = {
        "guid": "klue-1",
        "question": "몇 층인가?",
        "answers": [{"text": "5층"}],
        "is_impossible": False,
    }
    impossible = {"guid": "klue-2", "question": "누구인가?", "answers": [], "is_impossible": True}
    articles = article("신문", ("5층 건물이다.", [possible]), ("다른 문단", [impossible]))
    squad(tmp_path, "klue/klue-mrc-v1.1_dev.json", articles)
    found = load("klue-mrc", tmp_path)
    assert [q.id for q in found.questions] == ["klue-1"] == list(found.relevant)
    assert (found.key, found.skipped, len(found.passages)) == ("klue-mrc-dev", 1, 2)


def test_tydiqa_recurring_ids_and_other_languages(tmp_path: Path) -> None:
    """A copy with cut ids, one file for all languages as published, and a blank answer, which is none."""
    squad(
        tmp_path,
        "tydiqa-ko/tydiqa.goldp.ko.train.json",
        *(article(None, (text, [asked("0")])) for text in "가나다"),
    )
    found = load("tydiqa-ko-train", tmp_path)
    assert [q.id for q in found.questions] == ["0", "0#2", "0#3"]
    assert len(found.relevant) == 3 and found.articles == ()
    official = tmp_path / "official"
    items = [("korean-5-1", "우리말"), ("finnish-5-2", "suomi"), ("korean-6-1", "둘째")]
    squad(
        official,
        "tydiqa-ko/tydiqa-goldp-v1.1-train.json",
        *(article(None, (text, [asked(identity, "뭐?", "")])) for identity, text in items),
    )
    found = load("tydiqa-ko-train", official)
    assert [(q.id, q.answers) for q in found.questions] == [("korean-5-1", ()), ("korean-6-1", ())]
    assert [p.text for p in found.passages] == ["우리말", "둘째"]
    assert found.skipped == 0


def test_articles_never_straddle_splits(tmp_path: Path) -> None:
    squad(tmp_path, KORQUAD, *many(140))
    splits = [load(f"korquad-{split}", tmp_path) for split in ("train", "dev", "test")]
    assert [len(found.articles) for found in splits] == [90, 10, 40]
    assert len({title for found in splits for title in found.articles}) == 140
    assert len({q.id for found in splits for q in found.questions}) == 140
    text = {q.id: q.text.split()[1].rstrip("?") for found in splits for q in found.questions}
    for found in splits:
        assert {f"글_{text[q.id]}" for q in found.questions} == set(found.articles)
        assert len(found.passages) == 140  # the pool is whole in every split
        assert set(found.relevant) == {q.id for q in found.questions}
    assert list(splits[0].articles) == sorted(splits[0].articles, key=lambda t: int(t[2:]))


def test_split_is_the_same_every_time() -> None:
    """By hand: the order is that of sha256("0/title"), whatever the order and the number of times given."""
    titles = [f"title {n}" for n in range(10)]
    shares = {"train": 5, "dev": 2, "test": 3}
    expected = sorted(titles, key=lambda title: hashlib.sha256(f"0/{title}".encode()).hexdigest())
    splits = split_articles([*reversed(titles), *titles], shares)
    assert list(splits.values()) == [expected[:5], expected[5:7], expected[7:]]
    assert splits["test"] == ["title 5", "title 4", "title 8"]
    assert split_articles(titles, shares, seed=1) != splits
    assert [len(part) for part in split_articles(titles[:5], shares).values()] == [2, 1, 2]  # in proportion
    assert split_articles([], shares) == {"train": [], "dev": [], "test": []}


def test_articles_of_one_title_stay_together(tmp_path: Path) -> None:
    twice = [article("같은 글", (f"문단 {n}", [asked(f"t{n}")])) for n in range(20)]
    squad(tmp_path, KORQUAD, *many(20), *twice)
    splits = [load(f"korquad-{split}", tmp_path) for split in ("train", "dev", "test")]
    assert sorted(sum(q.id.startswith("t") for q in found.questions) for found in splits) == [0, 0, 20]


def test_squad_does_not_depend_on_the_order_of_articles(tmp_path: Path) -> None:
    for folder, articles in (("one", many(9)), ("two", many(9)[::-1])):
        for name in ("dev-v1.1", "train-44-articles"):
            squad(tmp_path / folder, f"squad/{name}.json", *articles)
    for split in ("train", "dev", "test"):
        one, two = (load(f"squad-{split}", tmp_path / folder) for folder in ("one", "two"))
        assert one.files != two.files
        assert dataclasses.replace(one, files={}) == dataclasses.replace(two, files={})
        assert [p.title for p in one.passages] == sorted(p.title for p in one.passages)


def test_a_further_known_copy_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBERT_ANY_HASH", "0")
    path = squad(tmp_path, "squad/dev-v1.1.json", *many(2))
    with pytest.raises(data.DataError, match=r"dev-v1.1.json: sha256 is .*, expected 77de3f90"):
        load("squad", tmp_path)
    file = RETRIEVAL_SETS["squad"].layouts[0].splits["test"][0]
    known = dataclasses.replace(file, other_sha256=("0" * 64, sha256_of(path)))
    monkeypatch.setitem(RETRIEVAL_SETS["squad"].layouts[0].splits, "test", (known,))
    assert len(load("squad", tmp_path).questions) == 2


def test_other_sizes_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    squad(tmp_path, "squad/dev-v1.1.json", *many(3))
    with caplog.at_level(logging.WARNING):
        load("squad", tmp_path)
    assert "squad-test: 3 questions, the publisher's copy has 10570" in caplog.text
    assert "squad-test: 3 passages, the publisher's copy has 2067" in caplog.text


def test_a_copy_without_questions_is_an_error(tmp_path: Path) -> None:
    squad(tmp_path, KORQUAD, *many(1))
    with pytest.raises(data.DataError, match=r"korquad-dev: no questions in .*KorQuAD_v1.0_dev.json"):
        load("korquad-dev", tmp_path)


def test_write_split(tmp_path: Path) -> None:
    squad(tmp_path, KORQUAD, *many(14))
    splits = [load(f"korquad-{split}", tmp_path) for split in ("train", "dev", "test")]
    path = tmp_path / "out/split.json"
    digest = data.write_split(path, *splits)
    assert digest == sha256_of(path) == data.write_split(path, *splits[::-1])
    written = json.loads(path.read_text(encoding="utf-8"))
    assert (written["set"], written["seed"], written["files"]) == ("korquad", 0, splits[0].files)
    assert list(written["splits"]) == ["dev", "test", "train"]
    for found in splits:
        ids = [q.id for q in found.questions]
        assert written["splits"][found.split] == {"articles": list(found.articles), "questions": ids}
    assert data.write_split(path, splits[0]) != digest
    other = data.load_retrieval("samples-mrc-en")
    for wrong in ((), (splits[0], other), (splits[0], splits[0])):
        with pytest.raises(ValueError, match="different splits of one set"):
            data.write_split(path, *wrong)


@pytest.mark.parametrize(("language", "counts"), [("en", (9, 2, 4)), ("ko", (10, 2, 4))])
def test_samples_need_nothing(language: str, counts: tuple[int, ...]) -> None:
    splits = [data.load_retrieval(f"samples-mrc-{language}", split) for split in ("train", "dev", "test")]
    assert tuple(len(found.articles) for found in splits) == counts
    assert [len(found.questions) for found in splits] == [9 * count for count in counts]
    assert {len(found.passages) for found in splits} == {3 * sum(counts)}
    text = {passage.id: passage.text for passage in splits[0].passages}
    for found, both in zip(splits, map(load_both, ("train", "dev", "test")), strict=True):
        assert set(found.relevant) <= set(both.relevant)
        for question in found.questions:
            (home,) = found.relevant[question.id]
            assert question.answers and all(answer in text[home] for answer in question.answers)


def load_both(split: str) -> data.RetrievalSet:
    both = data.load_retrieval("samples-mrc", split)
    parts = [data.load_retrieval(f"samples-mrc-{language}-{split}") for language in ("en", "ko")]
    assert both.questions == parts[0].questions + parts[1].questions
    assert both.passages == parts[0].passages + parts[1].passages
    assert both.language == "en+ko" and both.key == f"samples-mrc-{split}"
    return both


def test_sample_split_is_frozen(tmp_path: Path) -> None:
    """Every result on the samples rests on these ids."""
    splits = [data.load_retrieval("samples-mrc", split) for split in ("train", "dev", "test")]
    assert (
        data.write_split(tmp_path / "ids.json", *splits)
        == "abbfbffcdbdd3a38e23894f869f5a3ccb8da15fc692d018136fa5338c67b5bb6"
    )
