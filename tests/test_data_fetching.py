"""Archives, and the way from a registry entry through a download to a data set."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_server import Server, leftovers, serving, tar_gz, zipped

import data
from data import locate
from data.download import read_member
from data.entries import Archive, Entry, File, Layout, one_file_each
from data.registry import SETS


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        yield running


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_member_by_the_end_of_its_name(tmp_path: Path, pack) -> None:
    path = tmp_path / "archive"
    path.write_bytes(pack({"top/a.csv": b"A", "top/aa.csv": b"AA", "top/._a.csv": b"fork"}))
    assert read_member(path, "a.csv") == b"A"
    assert read_member(path, "top/aa.csv") == b"AA"
    with pytest.raises(data.DataError, match=r"no member\(s\) called b.csv; it holds top/a.csv"):
        read_member(path, "b.csv")
    assert leftovers(tmp_path) == ["archive"]  # read in place


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_traversal_and_ambiguity_are_refused(tmp_path: Path, pack) -> None:
    path = tmp_path / "archive"
    path.write_bytes(pack({"../../a.csv": b"x", "/abs/a.csv": b"x", "x/../a.csv": b"x"}))
    with pytest.raises(data.DataError, match=r"no member\(s\) called a.csv"):
        read_member(path, "a.csv")
    path.write_bytes(pack({"one/a.csv": b"1", "two/a.csv": b"2"}))
    with pytest.raises(data.DataError, match=r"2 member\(s\) called a.csv"):
        read_member(path, "a.csv")
    assert leftovers(tmp_path) == ["archive"]


def test_links_in_a_tar_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(tar_gz({}, links={"top/a.csv": "/etc/passwd"}))
    with pytest.raises(data.DataError, match=r"no member\(s\) called a.csv"):
        read_member(path, "a.csv")


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_oversized_member(tmp_path: Path, pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.download.LARGEST_MEMBER", 1000)
    path = tmp_path / "archive"
    path.write_bytes(pack({"a.csv": b"0" * 1001, "b.csv": b"0" * 1000}))
    assert len(read_member(path, "b.csv")) == 1000
    with pytest.raises(data.DataError, match=r"/a.csv: more than 1,000 bytes"):
        read_member(path, "a.csv")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", tar_gz({"a.csv": b"x" * 9999})[:-30]],
    ids=[
        "empty",
        "a page",
        "cut short",
    ],  # the packed bytes hold the time: processes would disagree on the name
)
def test_damaged_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "archive"
    path.write_bytes(content)
    with pytest.raises(data.DataError, match=r"archive: not a whole zip or tar.gz archive") as caught:
        read_member(path, "a.csv")
    assert "\n" not in str(caught.value)


def test_damaged_zip_member(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.csv": bytes(range(256)) * 40}))
    content[60] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(data.DataError, match=r"x.zip: not a whole zip"):
        read_member(tmp_path / "x.zip", "a.csv")


ROWS = b"score\tsentence1\tsentence2\n5\ta\tb\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.delenv("SBERT_ANY_HASH", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def register(monkeypatch: pytest.MonkeyPatch, *files: File) -> None:
    """A set called ``toy`` whose test split is one of the forms given."""
    entry = Entry(
        name="toy",
        task="sts",
        language="en",
        description="toy",
        layouts=tuple(one_file_each("scored-table", {"test": file}) for file in files),
        eval_split="test",
        licence="none",
        citation="none",
    )
    monkeypatch.setitem(SETS, "toy", entry)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_load_downloads_into_the_cache_once(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["t.tsv"] = ROWS
    register(monkeypatch, File("toy/t.tsv", sha(ROWS), urls=(server.url("t.tsv"),)))
    with pytest.raises(data.DataError, match="downloading is off"):
        data.load("toy", download=False)
    for _ in range(2):
        loaded = data.load("toy")
        assert len(loaded) == 1 and loaded.files == {"toy/t.tsv": sha(ROWS)}
    assert len(server.requests) == 1
    assert leftovers(cache / "toy") == ["t.tsv"]


def test_load_from_gzip_and_from_archives(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = {
        "t.tsv.gz": gzip.compress(ROWS),
        "t.zip": zipped({"top/t.tsv": ROWS}),
        "t.tar.gz": tar_gz({"t.tsv": ROWS}),
    }
    for name in server.files:
        packed = name != "t.tsv.gz"
        archive = Archive(f"{name}-dir/{name}", (server.url(name),)) if packed else None
        urls = () if packed else (server.url(name),)
        register(monkeypatch, File(f"{name}-dir/t.tsv", sha(ROWS), urls=urls, archive=archive))
        assert data.load("toy").files == {f"{name}-dir/t.tsv": sha(ROWS)}
        assert data.load("toy", download=False).examples[0].texts == ("a", "b")
        assert leftovers(cache / f"{name}-dir") == [name]


def test_second_address_when_the_first_fails(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = {"wrong": b"<html>moved</html>", "right": ROWS}
    urls = tuple(map(server.url, ("gone", "wrong", "right")))
    register(monkeypatch, File("toy/t.tsv", sha(ROWS), urls=urls))
    assert len(data.load("toy")) == 1
    assert [name for name, _ in server.requests] == ["gone", "wrong", "right"]


def test_wrong_content_never_becomes_a_set(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong rows inside a good archive, and an archive that is none: reported with both hashes, and removed."""
    other = b"score\tsentence1\tsentence2\n1\tother\trows\n"
    server.files = {"t.zip": zipped({"t.tsv": other}), "html": b"<html></html>"}
    archive = Archive("toy/t.zip", (server.url("t.zip"), server.url("html")))
    register(monkeypatch, File("toy/t.tsv", sha(ROWS), archive=archive))
    with pytest.raises(data.DataError) as caught:
        data.load("toy")
    message = str(caught.value)
    assert f"sha256 is {sha(other)}, expected {sha(ROWS)}" in message
    assert "not a whole zip" in message and "\n" not in message
    assert leftovers(cache / "toy") == []


def test_cache_that_changed_after_the_download(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.download._check_scheme", lambda url, pinned: None)
    server.files["t.tsv"] = ROWS
    register(monkeypatch, File("toy/t.tsv", urls=(server.url("t.tsv"),)))
    data.load("toy")
    (cache / "toy/t.tsv").write_bytes(ROWS + b"5\tc\td\n")
    with pytest.raises(data.DataError, match=rf"t.tsv: sha256 is .*, but {sha(ROWS)} when it was downloaded"):
        data.load("toy")


def test_data_dir_wins_over_the_publisher_in_any_form(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second form lies in the data dir, the first could be downloaded: nothing is asked of the server."""
    register(monkeypatch, File("toy/a.tsv", urls=(server.url("a.tsv"),)), File("toy/b.tsv"))
    (tmp_path / "mine/toy").mkdir(parents=True)
    (tmp_path / "mine/toy/b.tsv").write_bytes(ROWS)
    assert data.load("toy", data_dir=tmp_path / "mine").files == {"toy/b.tsv": sha(ROWS)}
    assert server.requests == []


def test_failed_download_names_the_file_and_the_folders_searched(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data dir that lacks the file is the likelier mistake than the publisher's server."""
    register(monkeypatch, File("toy/t.tsv", sha(ROWS), urls=(server.url("t.tsv"),)))
    mine = tmp_path / "mine"
    mine.mkdir()
    with pytest.raises(data.DataError) as caught:
        data.load("toy", data_dir=mine)
    message = str(caught.value)
    assert message.startswith(f"toy-test: no toy/t.tsv in {mine}, {cache}; {server.url('t.tsv')}: ")
    assert "HTTP 404" in message and "--data-dir or SBERT_DATA" in message and "\n" not in message
    monkeypatch.setenv("SBERT_DATA", str(mine))
    with pytest.raises(data.DataError, match=f"no toy/t.tsv in {mine}"):
        data.load("toy")


def test_cache_that_cannot_be_a_folder(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["t.tsv"] = ROWS
    register(monkeypatch, File("toy/t.tsv", sha(ROWS), urls=(server.url("t.tsv"),)))
    monkeypatch.setenv("SBERT_CACHE", "/dev/null/x")
    with pytest.raises(
        data.DataError, match=r"cannot be kept at /dev/null/x/toy/t.tsv \(Not a dir"
    ) as caught:
        data.load("toy")
    assert "\n" not in str(caught.value)


def test_missing_file_joins_those_at_hand(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["b.tsv"] = ROWS
    files = (File("toy/a.tsv", sha(ROWS)), File("toy/b.tsv", sha(ROWS), urls=(server.url("b.tsv"),)))
    register(monkeypatch, File("unused"))
    entry = SETS["toy"]
    layouts = (Layout("scored-table", {"test": files}),)
    changed = {slot: getattr(entry, slot) for slot in Entry.__slots__} | {"layouts": layouts}
    monkeypatch.setitem(SETS, "toy", Entry(**changed))
    (tmp_path / "mine/toy").mkdir(parents=True)
    (tmp_path / "mine/toy/a.tsv").write_bytes(ROWS)
    assert len(data.load("toy", data_dir=tmp_path / "mine")) == 2
    assert (cache / "toy/b.tsv").is_file() and not (cache / "toy/a.tsv").exists()


def test_default_cache_is_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SBERT_CACHE", raising=False)
    assert locate.cache(None) == Path.home() / ".cache/sbert-from-scratch"
    monkeypatch.setenv("SBERT_CACHE", "/somewhere")
    assert locate.cache(None) == Path("/somewhere")
    assert locate.cache("/given") == Path("/given")


def test_an_encrypted_zip_and_a_name_that_is_no_text(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.csv": b"x" * 50}))
    for at in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content[at] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    named = zipped({"caf\u00e9.csv": b"x"}).replace("caf\u00e9".encode(), b"caf\xff\xff")
    (tmp_path / "named.zip").write_bytes(named)
    for name in ("locked.zip", "named.zip"):
        with pytest.raises(data.DataError, match=rf"{name}: not a whole zip or tar.gz archive") as caught:
            read_member(tmp_path / name, "a.csv")
        assert "\n" not in str(caught.value)


def test_a_sparse_file_is_not_unfolded(tmp_path: Path) -> None:
    """A few hundred bytes that say they are 2^50 long."""
    info = tarfile.TarInfo("a.csv")
    info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**50), "GNU.sparse.name": "a.csv"}
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info, io.BytesIO())
    with pytest.raises(data.DataError, match=r"x.tar.gz/a.csv: a sparse file, which is not read"):
        read_member(tmp_path / "x.tar.gz", "a.csv")
