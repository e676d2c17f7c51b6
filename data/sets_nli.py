"""Facts about the natural language inference sets."""

from __future__ import annotations

from data.entries import Archive, Entry, File, Layout, Overlap, one_file_each
from data.sets_sts import SICK

_KORNLU = "https://raw.githubusercontent.com/kakaobrain/kor-nlu-datasets/master/KorNLI"
_KLUE = "https://raw.githubusercontent.com/KLUE-benchmark/KLUE/main/klue_benchmark/klue-nli-v1.1"

# Sets made from MultiNLI or in its way. Across nli-en, xnli-en, kornli (dev and test) and klue-nli no premise of
# one set recurs word for word in another; parts not compared, and translations, may still share some.
_MULTINLI_FAMILY = ("multinli", "allnli", "nli-en", "kornli", "klue-nli", "xnli-en")
_MINILM = Overlap("minilm", "all-MiniLM-L6-v2 was trained by its publisher on AllNLI (277,230 pairs)")


def _family(name: str) -> tuple[Overlap, ...]:
    """Set-wide overlaps of one member with the others."""
    return tuple(
        Overlap(other, f"{other} and {name} may share premises (both are made from MultiNLI or in its way)")
        for other in _MULTINLI_FAMILY
        if other != name
    )


_SNLI_ZIP = Archive("snli/snli_1.0.zip", ("https://nlp.stanford.edu/projects/snli/snli_1.0.zip",))
_MULTINLI_ZIP = Archive(
    "multinli/multinli_1.0.zip", ("https://cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip",)
)


def _in_zip(archive: Archive, name: str) -> File:
    """A member of an official zip, also where that was unpacked beside it or at the top of the data dir."""
    folder, top = archive.path.split("/")[0], archive.path.split("/")[1].removesuffix(".zip")
    return File(f"{folder}/{name}", archive=archive, also=(f"{folder}/{top}/{name}", f"{top}/{name}"))


_ALLNLI = File("allnli/AllNLI.tsv", urls=("https://sbert.net/datasets/AllNLI.tsv.gz",), also=("AllNLI.tsv",))

_ENGLISH = (
    Entry(
        name="snli",
        task="nli",
        language="en",
        description="Stanford NLI: captions as premises; rows without a majority label are dropped",
        layouts=(
            one_file_each(
                "snli", {s: _in_zip(_SNLI_ZIP, f"snli_1.0_{s}.jsonl") for s in ("train", "dev", "test")}
            ),
        ),
        eval_split="test",
        licence="CC BY-SA 4.0",
        citation="Bowman et al. 2015, SNLI",
        rows={"train": 549367, "dev": 9842, "test": 9824},
        overlaps=(
            _MINILM,
            *(
                Overlap(f"allnli-{part}", "allnli dev and test hold pairs of SNLI dev and test", split)
                for part in ("dev", "test")
                for split in ("dev", "test")
            ),
            *(
                Overlap(f"nli-en-{split}", f"nli-en-{split} holds the pairs of SNLI {split}", split)
                for split in ("dev", "test")
            ),
        ),
    ),
    Entry(
        name="multinli",
        task="nli",
        language="en",
        description="MultiNLI 1.0: ten genres; dev is the matched and the mismatched set together",
        layouts=(
            Layout(
                "snli",
                {
                    "train": (_in_zip(_MULTINLI_ZIP, "multinli_1.0_train.jsonl"),),
                    "dev": (
                        _in_zip(_MULTINLI_ZIP, "multinli_1.0_dev_matched.jsonl"),
                        _in_zip(_MULTINLI_ZIP, "multinli_1.0_dev_mismatched.jsonl"),
                    ),
                },
            ),
        ),
        eval_split="dev",
        licence="OANC and others, see the publisher's paper",
        citation="Williams et al. 2018, MultiNLI",
        rows={"train": 392702, "dev": 19647},
        overlaps=(_MINILM, *_family("multinli")),
    ),
    Entry(
        name="allnli",
        task="nli",
        language="en",
        description="SNLI and MultiNLI in one file, as sbert.net publishes them (the paper's training data)",
        layouts=(one_file_each("allnli", dict.fromkeys(("train", "dev", "test"), _ALLNLI)),),
        eval_split="test",
        licence="as SNLI and MultiNLI",
        citation="Bowman et al. 2015; Williams et al. 2018; Reimers and Gurevych 2019",
        rows={"train": 942069, "dev": 19657, "test": 19656},
        overlaps=(_MINILM, *_family("allnli")),
    ),
    Entry(
        name="nli-en",
        task="nli",
        language="en",
        description="Stands in for AllNLI: parts of SNLI and MultiNLI, ling-in-loop, semi-automatic NLI",
        layouts=(
            one_file_each(
                "jsonl",
                {
                    "train": File(
                        "nli-en/train.jsonl",
                        "d2d1fbed98a6bd02085caa0fe73f4412c94296e1d013795791bdf5961924fc88",
                    ),
                    "dev": File(
                        "nli-en/dev.jsonl", "4bb664ce68d31385504bd7d49aa115f3918953f15af887711f86f94a27a1a3e3"
                    ),
                    "test": File(
                        "nli-en/test.jsonl",
                        "aa015374697cbc8fea782d19fc3c2eb26ed11b0a65737c65d3fe4da36b538fcc",
                    ),
                },
            ),
        ),
        eval_split="test",
        licence="mixed; development use only",
        citation="Bowman et al. 2015; Williams et al. 2018; Parrish et al. 2021",
        rows={"train": 87938, "dev": 29489, "test": 9824},
        sources=(
            "assembled by hand: train from github.com/Alicia-Parrish/ling_in_loop @ 9def304 "
            "(NLI_data/*/train_round*.jsonl), nyu-mll/semi-automatic-nli @ 853c480 "
            "(data/{base_wiki,sim_wiki,translate_wiki}/train.jsonl), academic-repository/cat @ 9c98ebb "
            "(data/snli/train.csv: 1 neutral, 2 contradiction, 3 entailment) and "
            "technion-cs-nlp/LLMsKnow @ bee3ec5 (data/mnli_train.csv), in this order, stripped, without rows "
            "whose lower-cased pair is in dev or test or came before; dev is SNLI dev, then MultiNLI dev "
            "matched and mismatched; test is SNLI test as tokenised in OanaMariaCamburu/e-SNLI @ 7b585a3 "
            "(dataset/eSNLI/{s1,s2,labels}.test)"
        ),
        overlaps=(_MINILM, *_family("nli-en")),
    ),
    Entry(
        name="sick-nli",
        task="nli",
        language="en",
        description="The entailment labels of SICK; dev is the trial set",
        layouts=(one_file_each("sick-nli", SICK),),
        eval_split="test",
        licence="CC BY-NC-SA 3.0",
        citation="Marelli et al. 2014, SemEval-2014 Task 1",
        rows={"train": 4500, "dev": 500, "test": 4927},
    ),
)

KORNLI_DEV = File(
    "kornli/xnli.dev.ko.tsv",
    "821fb1c1c2e538ac2724a6132da36ffa379eb9a542ceb89243b3cf711377382c",
    urls=(f"{_KORNLU}/xnli.dev.ko.tsv",),
)
KORNLI_TEST = File(
    "kornli/xnli.test.ko.tsv",
    "0db53cf8e182283a0d0404ec3fe1b15d1e29236d23d22082dc20d43067254b3e",
    urls=(f"{_KORNLU}/xnli.test.ko.tsv",),
)
_KORNLI_TRAIN = tuple(
    File(f"kornli/{name}", urls=(f"{_KORNLU}/{name}",))
    for name in ("multinli.train.ko.tsv", "snli_1.0_train.ko.tsv")
)
_XNLI_ZIP = Archive("xnli-en/XNLI-1.0.zip", ("https://dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip",))
XNLI_LINES: dict[str, tuple[File, ...]] = {
    "dev": (File("xnli-en/dev-en.tsv", "d3899b7562dbba9418124a9a5fcd01bb78816bf724e8f301af15c6845a338c88"),),
    "test": (
        File("xnli-en/test-en.tsv", "6a208763f76af892ae0ed138ee117506dfe4847829a07d9464ac519c4a05a809"),
        KORNLI_TEST,
    ),
}
XNLI_ZIPPED = {s: File(f"xnli-en/xnli.{s}.tsv", archive=_XNLI_ZIP) for s in ("dev", "test")}

_KOREAN = (
    Entry(
        name="kornli",
        task="nli",
        language="ko",
        description="KorNLI: SNLI and MultiNLI train by machine (942,854 rows), XNLI dev and test by people",
        layouts=(Layout("kornli", {"train": _KORNLI_TRAIN, "dev": (KORNLI_DEV,), "test": (KORNLI_TEST,)}),),
        eval_split="test",
        licence="CC BY-SA 4.0",
        citation="Ham et al. 2020, KorNLI and KorSTS",
        rows={"dev": 2490, "test": 5010},
        overlaps=_family("kornli"),
    ),
    Entry(
        name="klue-nli",
        task="nli",
        language="ko",
        description="KLUE-NLI v1.1",
        layouts=(
            one_file_each(
                "klue-nli",
                {
                    split: File(
                        f"klue/klue-nli-v1.1_{split}.json", sha, urls=(f"{_KLUE}/klue-nli-v1.1_{split}.json",)
                    )
                    for split, sha in (
                        ("train", "8d32e7e4ff97804a23f277fee8740f1341ac82e1c0c7b34f1be21952e4813996"),
                        ("dev", "0699db82be17766b26e199864e6260443e17ec6e91d1870e876419e388f245b1"),
                    )
                },
            ),
        ),
        eval_split="dev",
        licence="CC BY-SA 4.0",
        citation="Park et al. 2021, KLUE",
        rows={"train": 24998, "dev": 3000},
        overlaps=_family("klue-nli"),
    ),
    Entry(
        name="xnli-en",
        task="nli",
        language="en",
        description="XNLI, English: line by line the original of kornli dev and test",
        layouts=(
            Layout("xnli-lines", XNLI_LINES),
            one_file_each("xnli", XNLI_ZIPPED),
        ),
        eval_split="test",
        licence="CC BY-NC 4.0",
        citation="Conneau et al. 2018, XNLI",
        rows={"dev": 2490, "test": 5010},
        overlaps=_family("xnli-en"),
    ),
)

NLI_ENTRIES = _ENGLISH + _KOREAN
