"""Facts about the sentence similarity sets."""

from __future__ import annotations

from data.entries import Archive, Entry, File, Layout, Overlap, one_file_each

_WIKI = "ixa2.si.ehu.eus/stswiki/images"
_KORNLU = "https://raw.githubusercontent.com/kakaobrain/kor-nlu-datasets/master"
_KLUE = "https://raw.githubusercontent.com/KLUE-benchmark/KLUE/main/klue_benchmark"

_STSB_TAR = Archive(
    "stsb/Stsbenchmark.tar.gz",
    (f"https://{_WIKI}/4/48/Stsbenchmark.tar.gz", f"http://{_WIKI}/4/48/Stsbenchmark.tar.gz"),
)
_STSB_SHA256 = {
    "train": "0f71910b59aa1ad973c5897f0791f3b0965a92b8f82b1a95f3eea9f4162fda82",
    "dev": "5d7e944d8b02734b07bfdb5df67db3420c64bed153fcaa1ba47ad03480cf4234",
    "test": "affe45928a66ee5a708531233c95b7dacbbdc57f974f002a3d32ea0180cf816a",
}
STSB_FILES = {
    split: File(f"stsb/sts-{split}.csv", sha, archive=_STSB_TAR) for split, sha in _STSB_SHA256.items()
}
_STSB_SBERT = File("stsb/stsbenchmark.tsv", urls=("https://sbert.net/datasets/stsbenchmark.tsv.gz",))

_STSB_ENTRY = Entry(
    name="stsb",
    task="sts",
    language="en",
    description="STS benchmark, English: pairs of news, captions and forum posts, scored 0-5",
    layouts=(
        one_file_each("stsb", STSB_FILES),
        one_file_each("sbert-stsb", dict.fromkeys(STSB_FILES, _STSB_SBERT)),
    ),
    eval_split="test",
    licence="mixed, see LICENSE.txt in the publisher's archive",
    citation="Cer et al. 2017, SemEval-2017 Task 1",
    rows={"train": 5749, "dev": 1500, "test": 1379},
)


def _sick_file(name: str, archive: str, sha256: str) -> File:
    return File(
        f"sick/{name}",
        sha256,
        urls=(f"https://raw.githubusercontent.com/alvations/stasis/master/SICK-data/{name}",),
        archive=Archive(
            f"sick/{archive}", (f"http://alt.qcri.org/semeval2014/task1/data/uploads/{archive}",)
        ),
    )


SICK = {
    "train": _sick_file(
        "SICK_train.txt", "sick_train.zip", "266cf8047149bd1d68138dd30439f3122bff30069740ac6705bb6197d9f1b48e"
    ),
    "dev": _sick_file(
        "SICK_trial.txt", "sick_trial.zip", "5a88cfb62f8c6bd2a3cce0f2421ba2cb8c2be5ab4a800f6f01e2c64aafb7db56"
    ),
    "test": _sick_file(
        "SICK_test_annotated.txt",
        "sick_test_annotated.zip",
        "2b8aa806658d6fc23c6824c83776c2d4fee7556000817b5ec0f982861413b7d0",
    ),
}
_SICK_LICENCE = "CC BY-NC-SA 3.0"
_SICK_CITATION = "Marelli et al. 2014, SemEval-2014 Task 1"

_SICK_ENTRIES = (
    Entry(
        name="sickr",
        task="sts",
        language="en",
        description="SICK relatedness, 1-5; test is the 4,927 rows of the SBERT paper, dev is the trial set",
        layouts=(one_file_each("sick", SICK),),
        eval_split="test",
        licence=_SICK_LICENCE,
        citation=_SICK_CITATION,
        rows={"train": 4500, "dev": 500, "test": 4927},
    ),
    Entry(
        name="sickr-all",
        task="sts",
        language="en",
        description="SICK relatedness, all rows of train, trial and test together (MTEB's SICK-R)",
        layouts=(Layout("sick", {"all": tuple(SICK.values())}),),
        eval_split="all",
        licence=_SICK_LICENCE,
        citation=_SICK_CITATION,
        rows={"all": 9927},
        overlaps=tuple(
            Overlap(
                f"{name}-{split}", f"{rows:,} of the 9,927 pairs of sickr-all are those of {name}-{split}"
            )
            for name in ("sickr", "sick-nli")
            for split, rows in (("train", 4500), ("dev", 500), ("test", 4927))
        ),
    ),
)

# Sub-sets of each year. The sha256 are those of the pasted files (score and pair in one), which have no
# publisher of their own; 2012's MSRvid is missing from them.
_SEMEVAL: dict[int, dict[str, str | None]] = {
    2012: {
        "MSRpar": "0152db6de47cb0c309482425118281b8afad65a066ad961c96930d511d62dba1",
        "SMTeuroparl": "b70cbc8262db9fe178341a2e427d713be2fb440b1cccc1736cd0e66f0ac8ff59",
        "OnWN": "8148c4aea8e70e39c033e16cc0765735669aba0f5de053ac0061f2cf47cf366f",
        "SMTnews": "7745b5a11faab3098eacd8ba7ea4530f932d1ee5f82e10d6d1f1b8b03cd8868b",
        "MSRvid": None,
    },
    2013: {
        "headlines": "9b40330c1b70017b62a48404bf050211f5cfd990e249fc1b8146163bdcb9924a",
        "OnWN": "66aeefda9084f544e2d54e51026d2952e2cb05bd9b5fcf4c6d4efe57dfa3e4fc",
        "FNWN": "ac1fcaf6042fc7f8984b0d6145b5a4028da10c9adc55754ea1ad64d6dd3f6633",
    },
    2014: {
        "deft-forum": "1bdea70a0f1b44b7697ede61b80a9a566fad928150567a8a46235104847ef484",
        "deft-news": "faf2fc618e57f4acac25a7cdb16b131a2055ed4fcead3cf475e411b0482dc51d",
        "headlines": "85e98e7c2ed1e95e2a0d1d4047f50497f3a2ca196c0004afa416320f73d46efd",
        "images": "c17677ae0fdd667330b8b41585666d2181d1f4b20013cfdd81f5d0f2811b9165",
        "OnWN": "072ffe5052223b45018a588c3f06d48a3b16bf7a7ea7e9f235fce89342ec8f3f",
        "tweet-news": "be2ee005c28f3c4359cef6d35323ef5ce32443a85a6bad21cdb30f320054db37",
    },
    2015: {
        "answers-forums": "896cd9f26fad335775688ee9829910bb2e7240fb44d89b2e1cc467a73239f65d",
        "answers-students": "e3bd0696f2ff514276ddcc830655b84d7d5e48868f71aa3009d6c5ff90756cee",
        "belief": "29cc4918023aabd33a270f475914885fa7dd24c9811279d9e0face14f973a7e4",
        "headlines": "d45bf6e97f44afc817b39c1e51492cfadce163b0076611f7c85472c8e05271d1",
        "images": "820fe1c8cfb1349ba7d7bca3bf1ed38776d9d0d1b193124a8666e3a5f440c5a9",
    },
    2016: {
        "answer-answer": "b7152d6d12e7145734b452a9757593259b987bbae0558e769a1ded3e992ba12b",
        "headlines": "454c0fa9fdbb133042e84cb7b85f0562b60016d70c1f3caf4b01bd51e6b58a3f",
        "plagiarism": "9f556fe320ce95c7b43db74894f0120dcb4dc9745c7ae9936b49fba04a52524a",
        "postediting": "e412867621bbabf17d4b44c99f84bb222448eabaef34b37243baed1687812b81",
        "question-question": "0b136074715d26425b1b18f566ba319598efa12e1601fd048ad496937c484c06",
    },
}
_SEMEVAL_ZIPS = {2012: "4/40", 2013: "2/2f", 2014: "8/8c", 2015: "d/da", 2016: "9/98"}
_SEMEVAL_ROWS = {2012: 3108, 2013: 1500, 2014: 3750, 2015: 3000, 2016: 1186}
_SEMEVAL_TASKS = {
    2012: "Agirre et al. 2012, SemEval-2012 Task 6",
    2013: "Agirre et al. 2013, *SEM 2013 shared task",
    2014: "Agirre et al. 2014, SemEval-2014 Task 10",
    2015: "Agirre et al. 2015, SemEval-2015 Task 2",
    2016: "Agirre et al. 2016, SemEval-2016 Task 1",
}
# Pairs of each year that are rows of stsb (in either order of the sentences): train, dev, test.
_IN_STSB = {
    2012: (1002, 259, 256),
    2013: (597, 81, 72),
    2014: (1861, 193, 205),
    2015: (1102, 580, 199),
    2016: (197, 22, 285),
}


def _pasted(year: int, subset: str) -> File:
    return File(f"semeval-sts/{year}/{subset}.test.tsv", _SEMEVAL[year][subset])


def _official(year: int) -> Layout:
    """STS.input.X.txt and STS.gs.X.txt by turns, loose in the year's folder or in the publisher's zip."""
    name = f"STS{year}-en-test.zip"
    archive = Archive(f"semeval-sts/{year}/{name}", (f"https://{_WIKI}/{_SEMEVAL_ZIPS[year]}/{name}",))
    prefix = "STS2016" if year == 2016 else "STS"
    files = []
    for subset in _SEMEVAL[year]:
        full = f"surprise.{subset}" if year == 2012 and subset in ("OnWN", "SMTnews") else subset
        for kind in ("input", "gs"):
            member = f"{prefix}.{kind}.{full}.txt"
            others = {f"STS.{kind}.{full}.txt", f"STS.{kind}.{subset}.txt"} - {member}
            also = tuple(f"semeval-sts/{year}/{other}" for other in sorted(others))
            files.append(File(f"semeval-sts/{year}/{member}", archive=archive, also=also))
    return Layout("semeval-official", {"test": tuple(files)})


def _in_stsb(year: int) -> tuple[Overlap, ...]:
    total = _SEMEVAL_ROWS[year]
    return tuple(
        Overlap(
            f"stsb-{split}",
            f"{shared:,} of the {total:,} pairs of sts{year - 2000} ({shared / total:.0%}) are in stsb-{split}",
        )
        for split, shared in zip(STSB_FILES, _IN_STSB[year], strict=True)
    )


def _semeval_entry(year: int) -> Entry:
    pasted = tuple(_pasted(year, subset) for subset in _SEMEVAL[year])
    layouts = [_official(year), Layout("semeval-pasted", {"test": pasted})]
    if year == 2012:
        rest = tuple(file for file in pasted if "MSRvid" not in file.path)
        layouts.append(Layout("sts12-rebuilt", {"test": rest + tuple(STSB_FILES.values())}))
    name, total = f"sts{year - 2000}", _SEMEVAL_ROWS[year]
    return Entry(
        name=name,
        task="sts",
        language="en",
        description=f"SemEval STS {year} test, 0-5, all sub-sets together ({', '.join(_SEMEVAL[year])})",
        layouts=tuple(layouts),
        eval_split="test",
        licence="mixed, see the year's readme",
        citation=_SEMEVAL_TASKS[year],
        rows={"test": total},
        overlaps=_in_stsb(year),
    )


_KORSTS = {
    "train": "b5aaa7f957d6ff46f4b6834a8b0f024a9234a6eefe9289aed66746b4533da3b8",
    "dev": "d835b65b424401fbcce6be28a78159df8d61f5b19977ea7a0b83b8cb6105f393",
    "test": "13f83a3440d9db52d134eb40303ce021b03264aa338fbf2871c8786ce04d2105",
}
KORSTS_FILES = {
    split: File(f"korsts/sts-{split}.tsv", sha, urls=(f"{_KORNLU}/KorSTS/sts-{split}.tsv",))
    for split, sha in _KORSTS.items()
}
KLUE_STS_FILE = File(
    "klue/klue-sts-v1.1_dev.json",
    "b6a0ae0c370e21687f7eef0fdea872a328bb2ecbdb020c546cb870d28606bf80",
    urls=(f"{_KLUE}/klue-sts-v1.1/klue-sts-v1.1_dev.json",),
)
_KOREAN_ENTRIES = (
    Entry(
        name="korsts",
        task="sts",
        language="ko",
        description="KorSTS, 0-5: stsb translated row by row; train by machine, dev and test by people",
        layouts=(one_file_each("scored-table", KORSTS_FILES),),
        eval_split="test",
        licence="CC BY-SA 4.0",
        citation="Ham et al. 2020, KorNLI and KorSTS",
        rows={"train": 5749, "dev": 1500, "test": 1379},
    ),
    Entry(
        name="klue-sts",
        task="sts",
        language="ko",
        description="KLUE-STS v1.1, 0-5 (labels.label, rounded to 0.1; real-label is the unrounded mean)",
        layouts=(one_file_each("klue-sts", {"dev": KLUE_STS_FILE}),),
        eval_split="dev",
        licence="CC BY-SA 4.0",
        citation="Park et al. 2021, KLUE",
        rows={"dev": 519},
    ),
)

STS_ENTRIES = (_STSB_ENTRY, *(_semeval_entry(year) for year in _SEMEVAL), *_SICK_ENTRIES, *_KOREAN_ENTRIES)
