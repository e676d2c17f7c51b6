"""One file from a server: resumption, short and wrong files, http, trust on first use."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_server import Server, leftovers, serving

import data
from data.download import fetch, remembered_sha256

CONTENT = bytes(range(256)) * 1024  # 256 KiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        yield running


def part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_whole_file(server: Server, tmp_path: Path) -> None:
    server.files["x"] = CONTENT
    target = tmp_path / "new/x"
    assert fetch(server.url("x"), target, sha256=SHA256) == target
    assert target.read_bytes() == CONTENT
    assert leftovers(target.parent) == ["x"]
    fetch(server.url("x"), target, sha256=SHA256)
    assert len(server.requests) == 1  # it is there: not asked for again


@pytest.mark.parametrize("etag", [None, '"v1"'])
def test_short_file_is_an_error_and_the_next_call_fetches_the_rest(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    server.files["x"], server.cut, server.etag = CONTENT, 100_000, etag
    target = tmp_path / "x"
    with pytest.raises(data.DataError, match=r"short file, 100,000 of 262,144 bytes; run again"):
        fetch(server.url("x"), target, sha256=SHA256)
    assert not target.exists()
    assert part(target).read_bytes() == CONTENT[:100_000]
    server.cut = None
    fetch(server.url("x"), target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("x", None), ("x", "bytes=100000-")]
    assert leftovers(tmp_path) == ["x"]


def test_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.files["x"], server.ranges = CONTENT, False
    target = tmp_path / "x"
    part(target).write_bytes(CONTENT[:5000])
    fetch(server.url("x"), target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_file_changed_between_the_halves(server: Server, tmp_path: Path) -> None:
    """The ETag of the first half no longer holds, so the server sends the whole new file."""
    server.files["x"], server.cut, server.etag = b"old" * 1000, 1500, '"old"'
    target = tmp_path / "x"
    with pytest.raises(data.DataError, match="short file"):
        fetch(server.url("x"), target, pinned=True)
    server.files["x"], server.cut, server.etag = CONTENT, None, '"new"'
    fetch(server.url("x"), target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_part_that_was_already_whole(server: Server, tmp_path: Path) -> None:
    server.files["x"] = CONTENT
    target = tmp_path / "x"
    part(target).write_bytes(CONTENT)
    fetch(server.url("x"), target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_part_longer_than_the_file_is_dropped(server: Server, tmp_path: Path) -> None:
    server.files["x"] = CONTENT
    target = tmp_path / "x"
    part(target).write_bytes(CONTENT + b"more")
    with pytest.raises(data.DataError, match="HTTP 416"):
        fetch(server.url("x"), target, sha256=SHA256)
    fetch(server.url("x"), target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_wrong_hash_is_never_a_file(server: Server, tmp_path: Path) -> None:
    server.files["x"] = b"something else"
    found = hashlib.sha256(b"something else").hexdigest()
    target = tmp_path / "x"
    with pytest.raises(data.DataError) as caught:
        fetch(server.url("x"), target, sha256=SHA256)
    assert f"sha256 is {found}, expected {SHA256}" in str(caught.value)
    assert leftovers(tmp_path) == []


def test_http_error_is_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"/x: download failed \(HTTP 404: Not Found\)$"):
        fetch(server.url("x"), tmp_path / "x", sha256=SHA256)


def test_no_server_is_one_line(server: Server, tmp_path: Path) -> None:
    url = server.url("x")
    server.shutdown()
    server.server_close()
    with pytest.raises(data.DataError, match=r"download failed \(.*refused") as caught:
        fetch(url, tmp_path / "x", sha256=SHA256)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", ["/dev/null/x", "a file"])
def test_folder_that_cannot_be_made(server: Server, tmp_path: Path, folder: str) -> None:
    (tmp_path / "a file").write_bytes(b"")
    target = tmp_path / folder / "x"
    with pytest.raises(data.DataError) as caught:
        fetch(server.url("x"), target, sha256=SHA256)
    message = str(caught.value)
    assert message.startswith(f"{server.url('x')}: cannot be kept at {target} (")
    assert "SBERT_CACHE" in message and "\n" not in message
    assert server.requests == []


@pytest.mark.parametrize("in_the_way", ["x.lock", "x.part"])
def test_place_that_cannot_be_written(server: Server, tmp_path: Path, in_the_way: str) -> None:
    server.files["x"] = CONTENT
    (tmp_path / in_the_way).mkdir()
    with pytest.raises(data.DataError, match=r"\(Is a directory\)"):
        fetch(server.url("x"), tmp_path / "x", sha256=SHA256)


def test_http_needs_a_known_hash(server: Server, tmp_path: Path) -> None:
    server.files["x"] = CONTENT
    with pytest.raises(data.DataError, match="only https is downloaded"):
        fetch(server.url("x"), tmp_path / "x")
    for url in ("ftp://host/x", "file:///etc/passwd", "x"):
        with pytest.raises(data.DataError, match="only https"):
            fetch(url, tmp_path / "x", sha256=SHA256)
    assert server.requests == [] and leftovers(tmp_path) == []


def test_redirect_to_another_scheme_is_refused(server: Server, tmp_path: Path) -> None:
    server.redirect = "ftp://127.0.0.1/x"
    with pytest.raises(data.DataError, match=r"ftp://127.0.0.1/x: only https"):
        fetch(server.url("x"), tmp_path / "x", sha256=SHA256)


def test_trust_on_first_use(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a known hash the first one is written down, said, and asked for from then on."""
    monkeypatch.setattr("data.download._check_scheme", lambda url, pinned: None)  # stands in for https
    server.files["x"] = CONTENT
    target = tmp_path / "x"
    with caplog.at_level(logging.WARNING):
        fetch(server.url("x"), target)
    assert len(caplog.records) == 1 and SHA256 in caplog.text
    assert remembered_sha256(target) == SHA256
    target.unlink()
    server.files["x"] = b"changed"
    with pytest.raises(data.DataError, match=f"expected {SHA256}"):
        fetch(server.url("x"), target)
    assert leftovers(tmp_path) == ["x.sha256"]


def test_unpinned_part_without_a_tag_starts_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.download._check_scheme", lambda url, pinned: None)
    server.files["x"] = CONTENT
    part(tmp_path / "x").write_bytes(b"of an unknown version")
    fetch(server.url("x"), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.requests == [("x", None)]


def test_ranks_that_start_together_download_once(server: Server, tmp_path: Path) -> None:
    server.files["x"] = CONTENT
    jobs = [
        threading.Thread(target=fetch, args=(server.url("x"), tmp_path / "x"), kwargs={"sha256": SHA256})
        for _ in range(4)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert len(server.requests) == 1
