"""One data folder with every set that the paper's rows name, in the publishers' layouts, all sentences made up.

Small, but enough that each program runs: ten folds of every transfer task, an article in each split of KorQuAD. Gold
scores and labels follow from the words that two sentences share.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from data_files import row, write

from data import NLI_LABELS

ENGLISH = (
    ("a man", "a woman", "the dog", "the child", "two girls", "the boy", "a cat", "some people"),
    ("plays guitar", "is eating food", "sleeps", "runs in a park", "is cooking rice", "reads a book"),
)
KOREAN = (
    ("한 남자가", "한 여자가", "개가", "아이가", "두 소녀가", "소년이", "고양이가", "사람들이"),
    ("기타를 친다", "밥을 먹고 있다", "잔다", "공원에서 달린다", "요리를 하고 있다", "책을 읽는다"),
)
Words = tuple[tuple[str, ...], tuple[str, ...]]
ROWS = {"train": 32, "dev": 12, "test": 12}  # of every set of pairs: two batches of 16 to train on
SEMEVAL = {  # year -> folder inside the publisher's zip, and sub-sets
    2012: ("test-gold", "MSRpar MSRvid SMTeuroparl surprise.OnWN surprise.SMTnews"),
    2013: ("test-gold", "FNWN OnWN headlines"),
    2014: ("sts-en-test-gs-2014", "OnWN deft-forum deft-news headlines images tweet-news"),
    2015: ("test_evaluation_task2a", "answers-forums answers-students belief headlines images"),
    2016: (
        "sts2016-english-with-gs-v1.0",
        "answer-answer headlines plagiarism postediting question-question",
    ),
}


def sentence(words: Words, number: int) -> str:
    """One of 48: a subject and what it does."""
    subjects, verbs = words
    return f"{subjects[number % len(subjects)]} {verbs[number // len(subjects) % len(verbs)]}."


def pairs(words: Words, count: int, seed: int = 0) -> list[tuple[int, str, str]]:
    """(0, 1 or 2 parts shared, sentence, another or the same), as many of each."""
    draw = random.Random(seed)
    out = []
    for i in range(count):
        subject, verb, shared = draw.randrange(8), draw.randrange(6), i % 3
        other = (
            subject if shared else (subject + draw.randrange(1, 8)) % 8,
            verb if shared == 2 else (verb + draw.randrange(1, 6)) % 6,
        )
        out.append((shared, sentence(words, subject + 8 * verb), sentence(words, other[0] + 8 * other[1])))
    return out


def scored(words: Words, split: str) -> list[tuple[float, str, str]]:
    """Scores 0..5 that all differ a little."""
    found = pairs(words, ROWS[split], len(split))
    return [(round(2 * shared + i / len(found), 3), a, b) for i, (shared, a, b) in enumerate(found)]


def labelled(words: Words, split: str) -> list[tuple[str, str, str]]:
    """(premise, hypothesis, label)."""
    found = pairs(words, ROWS[split], 7 + len(split))
    return [(a, b, NLI_LABELS[shared]) for shared, a, b in found]


def write_paper_data(folder: Path) -> Path:
    """Everything below ``folder``."""
    for part in (write_stsb, write_semeval, write_sick, write_nli, write_korean_sts, write_korquad, write_wikisec, write_afs, write_senteval):  # fmt: skip
        part(folder)
    return folder


# ---------------------------------------------------------------- similarity


def write_stsb(folder: Path) -> None:
    """Stsbenchmark.tar.gz; some rows name their sources in two more columns."""
    (folder / "stsb").mkdir(parents=True)
    with tarfile.open(folder / "stsb/Stsbenchmark.tar.gz", "w:gz") as archive:
        for split in ROWS:
            lines = [
                row("main-captions", "MSRvid", "2012test", f"{i:04}", f"{score:.3f}", a, b)
                for i, (score, a, b) in enumerate(scored(ENGLISH, split))
            ]
            lines[0] += row("", "a source", "another")
            content = "".join(line + "\n" for line in lines).encode()
            member = tarfile.TarInfo(f"stsbenchmark/sts-{split}.csv")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_semeval(folder: Path) -> None:
    """A zip a year: sentences and gold scores in two files; from 2015 on some pairs have no score."""
    for year, (inside, subsets) in SEMEVAL.items():
        path = folder / f"semeval-sts/{year}/STS{year}-en-test.zip"
        path.parent.mkdir(parents=True)
        prefix = "STS2016" if year == 2016 else "STS"
        with zipfile.ZipFile(path, "w") as archive:
            for subset in subsets.split():
                rows = scored(ENGLISH, "test")
                texts = [row(a, b, *(["source"] * 2 if year == 2016 else [])) for _, a, b in rows]
                gold = [f"{score:g}" for score, _, _ in rows]
                if year >= 2015:
                    gold[1] = ""
                for kind, lines in (("input", texts), ("gs", gold)):
                    name = f"{inside}/{prefix}.{kind}.{subset}.txt"
                    archive.writestr(name, "".join(line + "\n" for line in lines))


def write_sick(folder: Path) -> None:
    header = row("pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment")
    for split, name in {"train": "train", "dev": "trial", "test": "test_annotated"}.items():
        rows = [
            row(i, a, b, f"{1 + 0.8 * score:.1f}", "NEUTRAL")
            for i, (score, a, b) in enumerate(scored(ENGLISH, split))
        ]
        write(folder, f"sick/SICK_{name}.txt", header, *rows, end="\r\n" if split == "test" else "\n")


def write_korean_sts(folder: Path) -> None:
    header = row("genre", "filename", "year", "id", "score", "sentence1", "sentence2")
    for split in ROWS:
        rows = [
            row("main-captions", "MSRvid", "2012test", f"{i:04}", f"{score:.3f}", a, b)
            for i, (score, a, b) in enumerate(scored(KOREAN, split))
        ]
        write(folder, f"korsts/sts-{split}.tsv", header, *rows)
    items = [
        {
            "guid": f"klue-sts-v1_dev_{i:05}",
            "source": "made-up",
            "sentence1": a,
            "sentence2": b,
            "labels": {"label": round(score, 1), "real-label": score, "binary-label": int(score >= 3)},
        }
        for i, (score, a, b) in enumerate(scored(KOREAN, "dev"))
    ]
    write(folder, "klue/klue-sts-v1.1_dev.json", json.dumps(items, ensure_ascii=False, indent=4))


def write_afs(folder: Path) -> None:
    """A .csv a topic, its labels means of several annotators."""
    for number, topic in enumerate(("GC", "GM", "DP")):
        lines: list[list[Any]] = [["regression_label", "datasetId_1", "datasetId_2", "sentence_1", "sentence_2"]]  # fmt: skip
        found = pairs(ENGLISH, 14, 20 + number)
        lines += [[2 * shared + i / 20, 1, 2, a, b] for i, (shared, a, b) in enumerate(found)]
        write_csv(folder / f"afs/ArgPairs_{topic}.csv", lines)


# ---------------------------------------------------------------- inference, triplets, questions


def write_nli(folder: Path) -> None:
    """AllNLI.tsv.gz of sbert.net, every split in one file; KorNLI with its two training files."""
    lines = [row("split", "dataset", "filename", "sentence1", "sentence2", "label")]
    for split in ROWS:
        lines += [row(split, "SNLI", f"snli_1.0_{split}.txt", *cells) for cells in labelled(ENGLISH, split)]
    (folder / "allnli").mkdir()
    with gzip.open(folder / "allnli/AllNLI.tsv.gz", "wt", encoding="utf8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
    header, train = row("sentence1", "sentence2", "gold_label"), labelled(KOREAN, "train")
    parts = {"multinli.train.ko": train[:16], "snli_1.0_train.ko": train[16:]}
    parts |= {f"xnli.{split}.ko": labelled(KOREAN, split) for split in ("dev", "test")}
    for name, rows in parts.items():
        write(folder, f"kornli/{name}.tsv", header, *(row(*cells) for cells in rows))


def write_wikisec(folder: Path) -> None:
    """The zip of sbert.net; the second sentence shares the subject of the first."""
    path = folder / "wikisec/wikipedia-sections-triplets.zip"
    path.parent.mkdir()
    columns = ["Sentence1", "Sentence2", "Sentence3", "ArticleTitle", "Section1", "Section2"]
    with zipfile.ZipFile(path, "w") as archive:
        for split, name in {"train": "train", "dev": "validation", "test": "test"}.items():
            rows = [
                [*(sentence(ENGLISH, i + step) for step in (0, 8, 3)), "Somebody", "Life", "Work"]
                for i in range(ROWS[split])
            ]
            archive.writestr(f"{name}.csv", csv_text([columns, *rows]))


def write_korquad(folder: Path) -> None:
    """14 articles of two paragraphs, two questions each: nine to train on, one for dev, four for test."""
    articles = []
    for title in range(14):
        paragraphs = []
        for part in range(2):
            number = 2 * title + part
            first, second = (sentence(KOREAN, number + step) for step in (0, 20))
            context = f"문서 {title}에서 {first} 그리고 {second} {number}번이다."
            questions = [
                {
                    "answers": [{"text": text, "answer_start": context.index(text)}],
                    "id": f"{title}-{part}-{i}",
                    "question": f"문서 {title}의 {number}번에서 {asked}?",
                }
                for i, (text, asked) in enumerate(
                    ((first.split()[0], "누가 있는가"), (f"{number}번", "몇 번인가"))
                )
            ]
            paragraphs.append({"qas": questions, "context": context})
        articles.append({"paragraphs": paragraphs, "title": f"문서 {title}"})
    whole = {"version": "KorQuAD_v1.0_dev", "data": articles}
    write(folder, "korquad/KorQuAD_v1.0_dev.json", json.dumps(whole, ensure_ascii=False, indent="\t"))


# ---------------------------------------------------------------- transfer


def write_senteval(folder: Path) -> None:
    """What is done tells the class, apart from every eleventh row."""

    def rows(count: int, classes: int) -> list[tuple[int, str]]:
        out = []
        for i in range(count):
            label, verb = i % classes, (i + (i % 11 == 0)) % classes
            subject = i // classes
            out.append((label, f"{sentence(ENGLISH, subject % 8 + 8 * verb)[:-1]} {subject // 8} ."))
        return out

    counts = {"rt-polarity.all": 40, "custrev.all": 40, "subj.all": 40, "mpqa.all": 40}
    counts |= {"stsa.binary.train": 30, "stsa.binary.dev": 12, "stsa.binary.test": 14}
    for name, count in counts.items():
        write(folder, f"senteval/{name}", *(f"{label} {text}" for label, text in rows(count, 2)))
    for split, count in (("train", 72), ("test", 18)):
        write(folder, f"senteval/TREC.{split}.all", *(f"{label} {text}" for label, text in rows(count, 6)))
    header = row("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    for split, count in (("train", 40), ("test", 16)):
        found = [row(shared // 2, i, i, a, b) for i, (shared, a, b) in enumerate(pairs(ENGLISH, count, 30))]
        write(folder, f"senteval/mrpc/msr_paraphrase_{split}.txt", header, *found, end="\r\n")


# ---------------------------------------------------------------- word vectors


def write_vectors(folder: Path) -> None:
    """The files that the rows of word vectors want, of 8 dimensions: GloVe's layout, and fastText's with its first line."""
    draw = random.Random(0)
    known = {word for parts in ENGLISH for text in parts for word in text.split()}
    words = [*sorted(known), ".", "0", "1"]
    lines = [" ".join([word, *(f"{draw.gauss(0, 1):.4f}" for _ in range(8))]) for word in words]
    write(folder, "glove.840B.300d.txt", *lines, ". . ." + lines[0].removeprefix(words[0]))
    write(folder, "crawl-300d-2M.vec", f"{len(lines)} 8", *(line + " " for line in lines))


def csv_text(rows: list[list[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def write_csv(path: Path, rows: list[list[Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(csv_text(rows), encoding="utf8", newline="")
