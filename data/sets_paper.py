"""Facts about the sets of the SBERT paper's tables 3 and 4: argument facets and sections of Wikipedia."""

from __future__ import annotations

from data.entries import Archive, Entry, File, Layout

_WIKISEC = Archive(
    "wikisec/wikipedia-sections-triplets.zip", ("https://sbert.net/datasets/wikipedia-sections-triplets.zip",)
)


def _wikisec_file(name: str) -> tuple[File, ...]:
    """A member of the zip, also where that was unpacked beside it or at the top of the data dir."""
    places = (f"wikisec/wikipedia-sections-triplets/{name}", f"wikipedia-sections-triplets/{name}")
    return (File(f"wikisec/{name}", archive=_WIKISEC, also=places),)


_WIKISEC_ENTRY = Entry(
    name="wikisec",
    task="triplet",
    language="en",
    description="Sections of Wikipedia: is a sentence of the same section nearer than one of another? 1.8 M triplets",
    layouts=(
        Layout(
            "wikisec",
            {
                "train": _wikisec_file("train.csv"),
                "dev": _wikisec_file("validation.csv"),
                "test": _wikisec_file("test.csv"),
            },
        ),
    ),
    eval_split="test",
    licence="CC BY-SA 3.0 (Wikipedia)",
    citation="Dor et al. 2018, Learning Thematic Similarity Metric Using Triplet Networks",
    rows={"test": 222957},
)

AFS_TOPICS = {"gun-control": "GC", "gay-marriage": "GM", "death-penalty": "DP"}


def _afs_file(topic: str) -> File:
    name = f"ArgPairs_{AFS_TOPICS[topic]}.csv"
    return File(f"afs/{name}", also=(name,))


def _afs_entry(name: str, *topics: str) -> Entry:
    return Entry(
        name=name,
        task="sts",
        language="en",
        description=f"Argument facet similarity, 0-5: arguments from online debates on {', '.join(topics)}",
        layouts=(Layout("afs", {"all": tuple(_afs_file(topic) for topic in topics)}),),
        eval_split="all",
        licence="not stated by the publisher",
        citation="Misra et al. 2016, Measuring the Similarity of Sentential Arguments in Dialog",
        sources=(
            "download the Argument Facet Similarity corpus from https://nlds.soe.ucsc.edu/node/44 and put its "
            "ArgPairs_GC.csv, ArgPairs_GM.csv and ArgPairs_DP.csv into afs/"
        ),
    )


PAPER_ENTRIES = (
    _WIKISEC_ENTRY,
    _afs_entry("afs", *AFS_TOPICS),
    *(_afs_entry(f"afs-{topic}", topic) for topic in AFS_TOPICS),
)
