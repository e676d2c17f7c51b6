"""Facts about the sets for retrieval, and how those of one file are split by article."""

from __future__ import annotations

from data.entries import Archive, Entry, File, Layout, Overlap, one_file_each

SPLIT_SEED = 0
# Files that are split by article: how many articles each split gets (in proportion, where a copy has another number).
ARTICLES: dict[str, dict[str, int]] = {
    "korquad/KorQuAD_v1.0_dev.json": {"train": 90, "dev": 10, "test": 40},
    "squad/train-44-articles.json": {"train": 40, "dev": 4},
    "samples/mrc/en.json": {"train": 9, "dev": 2, "test": 4},
    "samples/mrc/ko.json": {"train": 10, "dev": 2, "test": 4},
}

_KLUE = "https://raw.githubusercontent.com/KLUE-benchmark/KLUE/main/klue_benchmark/klue-mrc-v1.1"
_TYDIQA = "https://storage.googleapis.com/tydiqa/v1.1"
_BEIR = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"

_KORQUAD = File(
    "korquad/KorQuAD_v1.0_dev.json",
    "49415912b2d6a181672efd1ce7a5993e799e709b1cb5687bc74c71faf53d34ba",
    urls=("https://korquad.github.io/dataset/KorQuAD_v1.0_dev.json",),
)
_SQUAD_TRAIN = File(
    "squad/train-44-articles.json",
    "e7853905d95f255090f58a2af5221c7f2b296934f8a6c1d77b36df4686f0d828",
    urls=(
        "https://raw.githubusercontent.com/bloomsburyai/question-generation/"
        "6026097c3eae262260b1aa5cc28511c94b3b4a17/data/test-v1.1.json",
    ),
)
_SQUAD_DEV = File(
    "squad/dev-v1.1.json",  # the copy measured on has its articles in title order, the publisher's has not
    "77de3f90dd061c7dd99d3fbb1a72d1e679526585d87670665672839a6887ac6d",
    urls=("https://rajpurkar.github.io/SQuAD-explorer/dataset/dev-v1.1.json",),
    other_sha256=("95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",),
)
_TYDIQA_DEV_TGZ = Archive("tydiqa-ko/tydiqa-goldp-v1.1-dev.tgz", (f"{_TYDIQA}/tydiqa-goldp-v1.1-dev.tgz",))

_SQUAD_LAYOUT = (
    Entry(
        name="korquad",
        task="retrieval",
        language="ko",
        description="KorQuAD 1.0 dev, 140 Wikipedia articles split 90/10/40; the pool is all of their passages",
        layouts=(one_file_each("squad", dict.fromkeys(("train", "dev", "test"), _KORQUAD)),),
        eval_split="test",
        licence="CC BY-ND 2.0 KR",
        citation="Lim et al. 2019, KorQuAD 1.0",
        rows={"train": 3530, "dev": 681, "test": 1563},
        passages=dict.fromkeys(("train", "dev", "test"), 961),
    ),
    Entry(
        name="squad",
        task="retrieval",
        language="en",
        description="SQuAD 1.1: test is its dev set; train and dev are 40 and 4 of 44 articles of its train set",
        layouts=(
            one_file_each("squad-by-title", {"train": _SQUAD_TRAIN, "dev": _SQUAD_TRAIN, "test": _SQUAD_DEV}),
        ),
        eval_split="test",
        licence="CC BY-SA 4.0",
        citation="Rajpurkar et al. 2016, SQuAD",
        rows={"train": 10890, "dev": 987, "test": 10570},
        passages={"train": 2429, "dev": 2429, "test": 2067},
        overlaps=(
            Overlap(
                "minilm",
                "all-MiniLM-L6-v2 was trained by its publisher on SQuAD train (87,599 questions): on other articles "
                "than these, but on questions of the same kind",
                "test",
            ),
            *(
                Overlap(
                    "minilm",
                    "all-MiniLM-L6-v2 was trained by its publisher on SQuAD train (87,599 questions), these among them",
                    split,
                )
                for split in ("train", "dev")
            ),
        ),
    ),
    Entry(
        name="klue-mrc",
        task="retrieval",
        language="ko",
        description="KLUE-MRC v1.1: Wikipedia and news; questions that their passage does not answer are skipped",
        layouts=(
            one_file_each(
                "squad",
                {
                    "train": File(
                        "klue/klue-mrc-v1.1_train.json", urls=(f"{_KLUE}/klue-mrc-v1.1_train.json",)
                    ),
                    "dev": File(
                        "klue/klue-mrc-v1.1_dev.json",
                        "b31bb073e47cdeb19f2f1bae03d916ecabf945140334c75842d6994f700d4f47",
                        urls=(f"{_KLUE}/klue-mrc-v1.1_dev.json",),
                    ),
                },
            ),
        ),
        eval_split="dev",
        licence="CC BY-SA 4.0",
        citation="Park et al. 2021, KLUE",
    ),
    Entry(
        name="tydiqa-ko",
        task="retrieval",
        language="ko",
        description="TyDiQA-GoldP 1.1, Korean: asked by people who did not know the answer; one paragraph a question",
        layouts=(
            one_file_each(
                "tydiqa-korean",
                {
                    "train": File(
                        "tydiqa-ko/tydiqa.goldp.ko.train.json",
                        "2a823b7bc1c1d373917a104e3df63cbc3af02191a1d6fa7e64c9a806a3744adc",
                    ),
                    "dev": File(
                        "tydiqa-ko/tydiqa.goldp.ko.dev.json",
                        "98946f99a1473991a8455b5b58a32146e3535d3960477c8669969cd3a20f839c",
                    ),
                },
            ),
            one_file_each(  # as published: train holds all languages
                "tydiqa-korean",
                {
                    "train": File(
                        "tydiqa-ko/tydiqa-goldp-v1.1-train.json",
                        urls=(f"{_TYDIQA}/tydiqa-goldp-v1.1-train.json",),
                    ),
                    "dev": File("tydiqa-ko/tydiqa-goldp-dev-korean.json", archive=_TYDIQA_DEV_TGZ),
                },
            ),
        ),
        eval_split="dev",
        licence="Apache-2.0",
        citation="Clark et al. 2020, TyDi QA",
        rows={"train": 1625, "dev": 276},
        passages={"train": 1269, "dev": 228},
        overlaps=(
            Overlap(
                "tydiqa-ko-train",
                "15 of the 276 questions of tydiqa-ko-dev are about a passage of tydiqa-ko-train, 8 stand in both",
                "dev",
            ),
        ),
    ),
)


def _beir_files(name: str, split: str, archive: Archive, sha256: tuple[str, str, str]) -> tuple[File, ...]:
    """Corpus, queries and qrels of a split, in the folder ``beir/<name>`` or in the publisher's zip."""
    parts = ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv")
    return tuple(
        File(f"beir/{name}/{part}", sha, archive=archive, member=f"{name}/{part}")
        for part, sha in zip(parts, sha256, strict=True)
    )


_NFCORPUS_ZIP = Archive(
    "beir/nfcorpus.zip",
    (f"{_BEIR}/nfcorpus.zip",),
    "efe5be03f8c5b86a5870102d0599d227c8c6e2484328e68c6522560385671b0b",
)
_NFCORPUS = (
    "10cc83ef1826b1425e6a87090b5140b39b27755d5a27e48215a88611c899991f",
    "d024e6621b84925d485ae473d316a0c3af31c62c8068a59fb29d22f7613aef2a",
)
_NFCORPUS_QRELS = {
    "train": "6336b80f9bffc4f063f3aa450047ad35c0b7c534efe4a6ba35e16dbace047f6a",
    "dev": "b1d38b5e8f78c4a5820bce2b7ec2db54911d7690dc601e76811846b211180bd8",
    "test": "f8fba6ef3d4dd9c3a242a8ba4ae38276fc3622fce7dcbae764766d564542fd2a",
}
_SCIFACT_ZIP = Archive(
    "beir/scifact.zip",
    (f"{_BEIR}/scifact.zip",),
    "536e14446a0ba56ed1398ab1055f39fe852686ecad24a6306c80c490fa8e0165",
)
_SCIFACT_PUT_TOGETHER = (
    Layout(  # the abstracts of the original release, the publisher's queries and test qrels
        "beir",
        {
            "test": (
                File(
                    "beir/scifact/corpus.jsonl",
                    "eb2a6556cf508b94b2d9c4be167e1c1ca8932b38f46d45bb035cfddfa60657cd",
                ),
                File(
                    "beir/scifact/queries.jsonl",
                    "9db7df096f7414435d52bafcbacf814c30cea50eb565c1e8fa6d11440759bba8",
                ),
                File(
                    "beir/scifact/qrels/test.tsv",
                    "68c0ac63f1c24b9e8ce497649694f09b2d0850bab7ec2b103cc66996f5f8b3a3",
                ),
            )
        },
    )
)
# Paths inside the zip's own name: these bytes differ from those of beir/scifact, so neither stands in for the other.
_SCIFACT_PUBLISHED = Layout(
    "beir",
    {
        split: tuple(
            File(f"beir/scifact.zip/{part}", archive=_SCIFACT_ZIP, member=f"scifact/{part}")
            for part in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv")
        )
        for split in ("train", "test")
    },
)

_BEIR_LAYOUT = (
    Entry(
        name="nfcorpus",
        task="retrieval",
        language="en",
        description="NFCorpus (BEIR): titles of NutritionFacts pages as queries, PubMed abstracts, grades 1 and 2",
        layouts=(
            Layout(
                "beir",
                {
                    split: _beir_files("nfcorpus", split, _NFCORPUS_ZIP, (*_NFCORPUS, sha256))
                    for split, sha256 in _NFCORPUS_QRELS.items()
                },
            ),
        ),
        eval_split="test",
        licence="CC BY-SA 4.0",
        citation="Boteva et al. 2016; Thakur et al. 2021, BEIR",
        rows={"train": 2590, "dev": 324, "test": 323},
        passages=dict.fromkeys(("train", "dev", "test"), 3633),
        overlaps=(
            Overlap(
                "minilm",
                "all-MiniLM-L6-v2 was trained by its publisher on titles and abstracts of S2ORC, which may hold "
                "documents of NFCorpus",
            ),
        ),
    ),
    Entry(
        name="scifact",
        task="retrieval",
        language="en",
        description="SciFact (BEIR): scientific claims as queries, abstracts that support or refute them",
        layouts=(_SCIFACT_PUT_TOGETHER, _SCIFACT_PUBLISHED),
        eval_split="test",
        licence="CC BY-NC 2.0",
        citation="Wadden et al. 2020, SciFact; Thakur et al. 2021, BEIR",
        rows={"train": 809, "test": 300},
        passages={"train": 5183, "test": 5183},
        overlaps=(
            Overlap(
                "minilm",
                "all-MiniLM-L6-v2 was trained by its publisher on titles and abstracts of S2ORC, from which the "
                "documents of SciFact were taken",
            ),
        ),
    ),
)


def _sample_entry(language: str) -> Entry:
    """The embedded samples in one language, or in both (English first)."""
    languages = language.split("+")
    files = tuple(File(f"samples/mrc/{code}.json", embedded=True) for code in languages)
    splits = ("train", "dev", "test")
    return Entry(
        name="samples-mrc" + (f"-{language}" if len(languages) == 1 else ""),
        task="retrieval",
        language=language,
        description=f"Small set of articles and questions written for this project ({' and '.join(languages)})",
        layouts=(Layout("squad", dict.fromkeys(splits, files)),),
        eval_split="test",
        licence="CC0 1.0",
        citation="this project",
        overlaps=tuple(
            Overlap(
                f"samples-mrc-{code}-{split}", f"samples-mrc-{split} holds samples-mrc-{code}-{split}", split
            )
            for code in languages
            for split in splits
            if len(languages) > 1
        ),
    )


_SAMPLES = tuple(_sample_entry(language) for language in ("en+ko", "en", "ko"))
RETRIEVAL_SETS: dict[str, Entry] = {entry.name: entry for entry in (*_SAMPLES, *_SQUAD_LAYOUT, *_BEIR_LAYOUT)}
