"""What is killed besides training: encoding a corpus, building an index, a download."""

import json
import zipfile
from pathlib import Path

import torch

import experiments.encode as encode_command
import experiments.retrieve as retrieve_command
import sbert.shards
from data import download
from data.files import sha256_of
from data.locate import read_member
from experiments import retrieve_session
from experiments.crash.job import Job, broken_json, same_bytes
from experiments.crash.process import Watch
from sbert.retrieval import dense


def encoding(model: Path, corpus: Path) -> Job:
    words = [
        "--corpus",
        str(corpus),
        "--model",
        str(model),
        "--shard-rows",
        "150",
        "--output",
        "vectors",
        "--threads",
        "1",
    ]
    watch: Watch = (
        (sbert.shards, "_vectors", "encoding"),
        (sbert.shards, "_write", "writing a shard"),
        (sbert.shards, "_is_there", "looking at a shard"),
    )

    def whole(folder: Path) -> list[str]:
        """Every shard under its final name is whole; complete.json is there only with all of them."""
        wrong = broken_json(folder)
        for shard in (folder / "vectors").glob("shard-*"):
            about = json.loads((shard / "shard.json").read_text(encoding="utf8"))
            wrong += [
                f"{shard}/{n}" for n in ("embeddings.npy", "ids.json") if sha256_of(shard / n) != about[n]
            ]
        if (folder / "vectors/complete.json").exists():
            list(sbert.shards.read_shards(folder / "vectors"))
        return wrong

    return Job("encode", lambda: encode_command.main(words), whole, same_bytes, watch)


def indexing(model: Path, corpus: Path) -> Job:
    words = [
        "--corpus",
        str(corpus),
        "--query",
        "who rides a horse?",
        "--retriever",
        "dense",
        "--model",
        str(model),
    ]
    words += ["--index", "index", "--threads", "1"]
    watch: Watch = (
        (retrieve_session, "encode_pool", "encoding"),
        (retrieve_session, "save_pool", "writing the index"),
        (retrieve_session, "load_pool", "reading the index"),
    )

    def whole(folder: Path) -> list[str]:
        index = folder / "index"
        if not index.exists():
            return []
        dense.load_index(index, None)
        return broken_json(index)

    return Job("index", lambda: retrieve_command.main(words), whole, same_bytes, watch)


def downloading(address: str, served: Path) -> Job:
    """A file whose sha256 is known, and an archive that is checked by what is in it."""
    plain, packed = served / "plain.bin", served / "packed.zip"
    known = {path.name: sha256_of(path) for path in (plain, packed)}

    def check(part: Path) -> None:
        read_member(part, "member.bin")

    def start() -> int:
        download.fetch(f"{address}/{plain.name}", Path("cache") / plain.name, sha256=known[plain.name])
        download.fetch(f"{address}/{packed.name}", Path("cache") / packed.name, pinned=True, check=check)
        return 0

    def whole(folder: Path) -> list[str]:
        paths = [folder / "cache" / name for name in known]
        return [
            f"{path}: half a file" for path in paths if path.exists() and sha256_of(path) != known[path.name]
        ]

    watch: Watch = ((download, "_transfer", "transfer"), (download, "_verify", "checking"))
    return Job("download", start, whole, same_bytes, watch)


def write_served(folder: Path) -> None:
    """4 MiB twice: as they are, and in a zip."""
    folder.mkdir()
    content = torch.randint(
        256, (4 << 20,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ).numpy()
    (folder / "plain.bin").write_bytes(content.tobytes())
    with zipfile.ZipFile(folder / "packed.zip", "w") as file:
        file.writestr("set/member.bin", content.tobytes())
