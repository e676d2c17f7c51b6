"""Facts about parallel text, English and Korean: what a Korean encoder is distilled from, and what it is scored on.

Train and test are ours, not the publishers', who meant small files for tuning and testing: ``train`` is what may be
trained on, ``test`` is what is reported. Texts that are reported anywhere, here or in KorSTS, KLUE-STS, STS-B and
KorNLI, are left out of every train split (data/readers/parallel.py), so the files they stand in are read as well.
"""

from __future__ import annotations

from dataclasses import replace

from data.entries import Archive, Entry, File, Layout, Overlap
from data.sets_nli import KORNLI_DEV, KORNLI_TEST, XNLI_LINES, XNLI_ZIPPED
from data.sets_sts import KLUE_STS_FILE, KORSTS_FILES, STSB_FILES

_GITHUB = "https://raw.githubusercontent.com"
_PARK = f"{_GITHUB}/jungyeul/korean-parallel-corpora"

_KOR_TXT = File(
    "parallel-ko-en/kor.txt",
    "6c9d8de3e500306997e4083274fb0038ef521651ffb2b7923e4e607a59d09dbc",
    urls=(  # the publisher's own file grows, so the version of 20 February 2023 comes from a copy
        f"{_GITHUB}/r0cd7b/nlp_with_rnns_and_attention/4d489985fa256e7c15957f227591aef8be7c7108/kor-eng/kor.txt",
    ),
    archive=Archive("parallel-ko-en/kor-eng.zip", ("https://www.manythings.org/anki/kor-eng.zip",)),
)


def _news(split: str, en: str, ko: str) -> tuple[File, ...]:
    """Both sides of one split, out of the publisher's tar.gz."""
    name = f"korean-english-park.{split}"
    urls = tuple(
        f"{_PARK}/{place}/{name}.tar.gz" for place in ("master/korean-english-news-v1", _NEWS_AT[split])
    )
    archive = Archive(f"parallel-ko-en/{name}.tar.gz", urls)
    sides = (("en", en), ("ko", ko))
    return tuple(File(f"parallel-ko-en/{name}.{side}", sha, archive=archive) for side, sha in sides)


_NEWS_AT = {
    "dev": "aaafd19c37024fe0a0c39c4007bbb0272fc6f21e/korean-english-v1",
    "test": "db4863eeb051f6456fc86a1802dc1688f36e2a86/korean-english-news-v1",
}


def _jhe(split: str, en: str, ko: str) -> tuple[File, ...]:
    places = (
        "2cd5c05ddb8070355e149d76443fc815455439c1/korean-english-jhe",
        "7c91f68ba14c55320885068ecb43c08993c2003d/jhe-korean-english",
    )
    return tuple(
        File(f"parallel-ko-en/{name}", sha, urls=tuple(f"{_PARK}/{place}/{name}" for place in places))
        for name, sha in ((f"jhe-koen-{split}.en", en), (f"jhe-koen-{split}.ko", ko))
    )


_FILES: dict[str, dict[str, tuple[File, ...]]] = {
    "tatoeba": {"train": (_KOR_TXT,), "test": (_KOR_TXT,)},
    "news-ko-en": {
        "train": _news(
            "dev",
            "98e0d1284685328701410f9656098d9939ca69ab262bf69a9e1a7f9d716ef1dc",
            "248e0dd8e560db90ea7b51e4959a33d67a7bba48872429bc90f416ea8acbac44",
        ),
        "test": _news(
            "test",
            "76e43f2ed5ce5d20e4187fb7bb167f5771db8d06ec34c66410ea044c35eed77c",
            "02d1445fcdcd26f99b29a7d5bf692688634571310c1f2d1093cfb2e2d1eb6be4",
        ),
    },
    "jhe": {
        "train": _jhe(
            "dev",
            "ccf0c0ca7601b5cae37891ecf89c72c951ac162a20738ac894e3faf804c4c4af",
            "2b02238c122aac40860aebfb191cfcdb46553e6b55b447f8188e04cabe00b828",
        ),
        "test": _jhe(
            "eval",
            "dc4c0975092f3cfd5c60e3cea24e6b2a400e4373208cd9f3ed6b0cc44c01cc3b",
            "531b18d6640aaf63b86753c631c8ee6d7d23c10b9f9c56cb99c9da086417cb86",
        ),
    },
    "stsb-ko-en": {split: (STSB_FILES[split], KORSTS_FILES[split]) for split in ("train", "dev", "test")},
    "xnli-ko-en": {"train": (XNLI_LINES["dev"][0], KORNLI_DEV), "test": XNLI_LINES["test"]},
}
_FROM_ZIP: dict[str, tuple[File, ...]] = {
    "train": (XNLI_ZIPPED["dev"], KORNLI_DEV),
    "test": (XNLI_ZIPPED["test"], KORNLI_TEST),
}


def _layout(name: str, xnli: dict[str, tuple[File, ...]]) -> Layout:
    """The splits of a set; behind those of train, the files whose texts are left out. xnli: where XNLI is found."""
    files = {**_FILES, "xnli-ko-en": xnli}
    reported = (*(splits["test"] for splits in files.values()), files["stsb-ko-en"]["dev"], (KLUE_STS_FILE,))
    held_out = tuple(replace(file, held_out=True) for group in reported for file in group)
    return Layout("parallel", {**files[name], "train": (*files[name]["train"], *held_out)})


def _entry(
    name: str,
    description: str,
    licence: str,
    citation: str,
    rows: dict[str, int],
    overlaps: tuple[Overlap, ...] = (),
) -> Entry:
    return Entry(
        name=name,
        task="parallel",
        language="en+ko",
        description=description,
        layouts=tuple(_layout(name, xnli) for xnli in (_FILES["xnli-ko-en"], _FROM_ZIP)),
        eval_split="test",
        licence=licence,
        citation=citation,
        rows=rows,
        overlaps=overlaps,
    )


PARALLEL_ENTRIES = (
    _entry(
        "tatoeba",
        "Tatoeba, English and Korean: short everyday sentences; train is lines 1-4,749 of kor.txt, test its last 1,000",
        "CC BY 2.0 FR (tatoeba.org, through manythings.org/anki, 20 February 2023)",
        "Tiedemann 2020, The Tatoeba Translation Challenge; sentences by the contributors of tatoeba.org",
        {"train": 4724, "test": 1000},
    ),
    _entry(
        "news-ko-en",
        "News, English and Korean; train is the publisher's dev file, test its test file",
        "CC BY-SA 3.0",
        "Park, Hong and Cha 2016, Korean Language Resources for Everyone",
        {"train": 994, "test": 1996},
    ),
    _entry(
        "jhe",
        "Junior High English: school sentences, English and Korean; train is the publisher's dev file, test its eval file",
        "CC BY-SA 3.0",
        "Park, Hong and Cha 2016, Korean Language Resources for Everyone (zenodo.org/record/891295)",
        {"train": 719, "test": 720},
    ),
    _entry(
        "stsb-ko-en",
        "STS-B and KorSTS as translations of one another, without their scores; train by machine, dev and test by people",
        "as stsb and korsts (CC BY-SA 4.0)",
        "Cer et al. 2017; Ham et al. 2020",
        {"train": 9991, "dev": 2910, "test": 2552},
        overlaps=tuple(
            Overlap(f"sts{year}", f"stsb-ko-en-train holds sentences of sts{year}, without scores", "train")
            for year in range(12, 17)
        ),
    ),
    _entry(
        "xnli-ko-en",
        "XNLI and KorNLI as translations of one another, by people; train is their dev files, test their test files",
        "CC BY-NC 4.0 (XNLI), CC BY-SA 4.0 (KorNLI)",
        "Conneau et al. 2018; Ham et al. 2020",
        {"train": 3318, "test": 6679},
    ),
)
