"""experiments.bench applications: flags, arithmetic, and a tiny run of both sides, a stand-in being the peer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import bench, bench_applications, bench_applications_worker, bench_flags
from experiments.bench_applications_worker import encode, measure
from sbert.applications.texts import read_texts
from sbert.errors import RunError

# $1 the script, $2 the job, $4 the folder: finds all that ours found but the last, in two seconds
STAND_IN = """#!/bin/sh
[ "$1" = -c ] && exit 0
exec {python} -c '
import json, sys
job, folder = sys.argv[1:]
found = json.load(open(f"{{folder}}/ours-{{job}}.json"))[:-1]
json.dump(found, open(f"{{folder}}/peer-{{job}}.json", "w"))
print(json.dumps({{"seconds": 2.0, "peak_bytes": 5000000, "found": len(found)}}))
' "$2" "$4"
"""


def arguments(*words: str) -> Any:
    return bench_flags.build_parser().parse_args(["applications", *words])


def test_defaults_are_those_of_the_help() -> None:
    args = arguments()
    bench_flags.check(args)
    assert (args.data, args.sentences, args.peer_python) == ("nli-en-train", 50_000, None)
    assert args.output == bench_flags.ROOT / "experiments/results/bench/applications.json"


@pytest.mark.parametrize(
    "words, said",
    [
        (["applications", "--passages", "5"], "--passages: not a flag of applications"),
        (["applications", "--precision", "bf16"], "--precision: not a flag of applications"),
        (["applications", "--sentences", "1"], "whole number of at least 2"),
        (["search", "--sentences", "5"], "--sentences: not a flag of search"),
        (["encode", "--sentences", "5"], "--sentences: not a flag of encode"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = bench.main(words)
    except SystemExit as stopped:
        code = int(str(stopped.code))
    error = capsys.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1


def test_summary_by_hand() -> None:
    rounds = [
        {
            side: {"seconds": s, "peak_bytes": b, "found": 7}
            for side, s, b in (("ours", ours, 10), ("peer", peer, 30))
        }
        for ours, peer in ((2.0, 4.0), (1.0, 4.0), (4.0, 4.0))
    ]
    found = bench_applications.summarized("paraphrases", rounds)
    assert found["ratio"]["rounds"] == [2.0, 4.0, 1.0] and found["ratio"]["median"] == 2.0
    assert (found["ours"]["median"], found["ours"]["peak_bytes"], found["peer"]["found"]) == (2.0, 10, 7)
    alone = bench_applications.summarized("paraphrases", [{"ours": rounds[0]["ours"]}])
    assert "ratio" not in alone and "peer" not in alone


def test_agreement_by_hand(tmp_path: Path) -> None:
    (tmp_path / "ours-communities.json").write_text("[[1, 2], [3, 4], [5]]")
    assert bench_applications.agreement("communities", tmp_path) == {}
    (tmp_path / "peer-communities.json").write_text("[[3, 4], [5], [1, 2, 9], [7]]")
    assert bench_applications.agreement("communities", tmp_path) == {
        "same": 2,
        "only_ours": 1,
        "only_peer": 2,
    }


def test_our_side(tmp_path: Path, tiny_model_dir: Path) -> None:
    """The vectors are those of distinct sentences drawn by the seed; what is found is written for the comparison."""
    from sbert import modelWithPooling

    args: Any = type("Args", (), {})()
    args.data, args.data_dir, args.sentences, args.seed = "samples-sts-en", None, 40, 3
    args.model, args.folder = str(tiny_model_dir), tmp_path
    facts = encode(args)
    vectors = np.load(tmp_path / "vectors.npy")
    assert vectors.shape == (40, 32) == (facts["sentences"], facts["width"])
    every = modelWithPooling.from_pretrained(tiny_model_dir).encode(read_texts("samples-sts-en").texts)
    nearest = [int(np.abs(every - row).sum(axis=1).argmin()) for row in vectors]
    assert len(set(nearest)) == 40 and nearest != sorted(nearest)
    assert [np.abs(every[i] - row).max() for i, row in zip(nearest, vectors, strict=True)] == pytest.approx(
        [0] * 40, abs=1e-5
    )
    measured = measure("paraphrases", tmp_path)
    pairs = json.loads((tmp_path / "ours-paraphrases.json").read_text())
    assert measured["found"] == len(pairs) == 40 * 39 // 2 and measured["seconds"] > 0
    assert measured["peak_bytes"] >= 0 and all(i < j for i, j in pairs)
    np.save(tmp_path / "vectors.npy", np.repeat(np.eye(2, dtype=np.float32), (12, 11), axis=0))
    measure("communities", tmp_path)
    groups = [list(range(12)), list(range(12, 23))]
    assert json.loads((tmp_path / "ours-communities.json").read_text()) == groups


def test_a_tiny_run(tmp_path: Path, tiny_model_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    peer, output = tmp_path / "python", tmp_path / "new" / "speed.json"
    peer.write_text(STAND_IN.format(python=sys.executable))
    peer.chmod(0o755)
    words = [
        "applications",
        "--data",
        "samples-sts-en",
        "--sentences",
        "30",
        "--rounds",
        "1",
        "--threads",
        "1",
    ]
    words += ["--model", str(tiny_model_dir), "--peer-python", str(peer), "--output", str(output)]
    assert bench.main(words) == 0
    shown, text = capfd.readouterr().out, output.read_text(encoding="utf8")
    record = json.loads(text)
    assert str(tmp_path) not in text and str(tiny_model_dir.parent) not in text
    mined, grouped = record["jobs"]
    assert (mined["job"], mined["same"], mined["only_ours"], mined["only_peer"]) == ("paraphrases", 434, 1, 0)
    assert mined["ratio"]["median"] == pytest.approx(2.0 / mined["ours"]["median"])
    assert grouped["job"] == "communities" and record["settings"]["sentences"] == 30
    assert "434 found by both, 1 by ours alone" in shown and "30 sentences of samples-sts-en-test" in shown
    assert record["data_files"] and record["environment"]["torch"]


def test_a_process_that_fails_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "fails.py"
    program.write_text("import sys; print('half a line'); sys.exit('the reason')")
    with pytest.raises(RunError, match=r"fails\.py ended with 1"):
        bench_applications._run([sys.executable, str(program)], {}, bench_flags.ROOT)
    assert "the reason" in capfd.readouterr().err
    assert bench_applications_worker.main(["encode", "--folder", str(tmp_path), "--data", "none.txt"]) == 1
    assert "none.txt: cannot be read" in capfd.readouterr().err


def test_the_table_of_ours_alone() -> None:
    one = {"median": 1.5, "min": 1.0, "max": 2.0, "peak_bytes": 2.5e6, "found": 1234}
    found = {"jobs": [{"job": "communities", "ours": one}], "sentences": 50, "set": "x", "width": 3}
    rows = bench_applications.applications_table(found).split("\n")
    assert rows[2].split() == ["communities", "ours", "1.50", "1.00", "2.00", "-", "2", "1,234"]
    assert rows[-1] == "50 sentences of x, 3 dimensions"
