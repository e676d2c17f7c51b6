"""experiments.bench: its flags, its arithmetic, who runs when, and a tiny run of our side alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.retrieval import load_retrieval
from experiments import bench, bench_flags, bench_worker
from experiments.bench_summary import against_default, bench_table, summarize, summary
from sbert.retrieval.sparse import BM25


def arguments(*words: str) -> Any:
    return bench_flags.build_parser().parse_args(words)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_flags, "cores", lambda: 1)


# ---------------------------------------------------------------- flags


def test_defaults_are_those_of_the_help() -> None:
    args = arguments("train")
    assert (args.task, args.precision, args.rounds, args.updates) == (["stsb"], ["fp32"], 3, 300)
    assert (args.batch_size, args.lr, args.seed, args.peer_python) == (32, 2e-5, 42, None)


def test_lists_and_the_name_of_the_record() -> None:
    args = arguments("train", "--task", "stsb", "nli", "--precision", "fp32", "bf16", "--num-layers", "4")
    bench_flags.check(args)
    assert args.precision == ["fp32", "bf16"]
    assert args.output.name == "train-stsb+nli-4-layers.json"
    assert args.output.parent == bench_flags.ROOT / "experiments/results/bench"


@pytest.mark.parametrize(
    "words, said",
    [
        (["sing"], "encode"),
        (["train", "--task", "stsc"], "stsc"),
        (["train", "--rounds", "0"], "whole number of at least 1"),
        (["train", "--batch-size", "many"], "many"),
        (["train", "--batch", "8"], "--batch"),
        (["train", "--lr", "0"], "--lr"),
        (["train", "--lr", "nan"], "--lr"),
        (["encode", "--task", "nli"], "samples-sts"),
        (["train", "--task", "squad-passages"], "samples-nli"),
        (["rerank", "--model", "m", "--task", "nli"], "squad-passages"),
        (["encode", "--backend", "tensorrt=python"], "onnx-int8"),
        (["encode", "--backend", "onnx"], "=PYTHON"),
        (["train", "--backend", "onnx=python"], "of encode"),
        (["encode", "--backend", "onnx=no-such-python"], "make bench-backends"),
        (["encode", "--output", "speed.txt"], ".json"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = bench.main(words)
    except SystemExit as exit_:
        code = int(str(exit_.code))
    error = capsys.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["no/such/python", "no-such-python"])
def test_a_peer_interpreter_that_does_not_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["encode", "--task", "samples-sts", "--peer-python", name]) == 2
    error = capsys.readouterr().err
    assert name in error and "make bench-peers" in error and error.count("\n") == 1


def test_a_peer_interpreter_without_the_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    assert bench.main(["encode", "--task", "samples-sts", "--peer-python", str(bare)]) == 2
    assert "sentence-transformers" in capsys.readouterr().err


def test_the_command_in_the_record_names_no_absolute_path() -> None:
    words = [
        "train",
        "--peer-python",
        "/a/b/python",
        "--data-dir=/c/d",
        "--output",
        "r/x.json",
        "--rounds",
        "1",
    ]
    assert bench.shown(words) == [
        "train",
        "--peer-python",
        ".../python",
        "--data-dir=.../d",
        *words[4:],
    ]


# ---------------------------------------------------------------- arithmetic


def test_summary_by_hand() -> None:
    assert summary([30.0, 10.0, 20.0]) == {"median": 20.0, "min": 10.0, "max": 30.0, "spread": 1.0}
    assert summary([10.0, 20.0])["median"] == 15.0
    assert summary([4.0]) == {"median": 4.0, "min": 4.0, "max": 4.0, "spread": 0.0}


def rounds(*pairs: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        {
            "ours": {"per_second": ours, "quality": 0.5 + i / 10},
            "peer": {"per_second": peer, "quality": 0.25},
        }
        for i, (ours, peer) in enumerate(pairs)
    ]


def test_the_ratio_is_taken_round_by_round() -> None:
    found = summarize(rounds((100.0, 50.0), (120.0, 30.0), (90.0, 30.0)))
    assert found["ratio"]["rounds"] == [2.0, 4.0, 3.0]
    assert (found["ratio"]["median"], found["ratio"]["min"], found["ratio"]["max"]) == (3.0, 2.0, 4.0)
    assert found["ratio"]["spread"] == pytest.approx(2 / 3)
    assert found["ours"]["median"] == 100.0 and found["peer"]["median"] == 30.0
    assert found["ours"]["quality"] == {"median": 0.6, "min": 0.5, "max": 0.7}


def test_ours_alone_has_no_ratio_and_no_peer_row() -> None:
    alone = [{"ours": {"per_second": 8.0, "quality": 0.5}}]
    found = summarize(alone)
    assert set(found) == {"ours"}
    shown = bench_table(
        "train",
        [{"task": "stsb", "precision": "fp32", "backend": "torch", "quality_of": "k", "summary": found}],
        {},
    )
    assert "ours" in shown and "\nstsb       fp32  peer" not in shown and "50.00" in shown


def test_the_table_has_a_row_a_side() -> None:
    cell = {"task": "stsb", "precision": "fp32", "backend": "torch", "quality_of": "k"}
    cell["summary"] = summarize(rounds((9.0, 3.0)))
    ours, peer = bench_table("encode", [cell], {}).split("\n")[2:4]
    assert "peer, onnx  " in bench_table("encode", [cell | {"backend": "onnx"}], {})
    assert ours.split() == ["stsb", "fp32", "ours", "9.0", "9.0", "9.0", "3.00", "3.00", "3.00", "50.00"]
    assert peer.split() == ["stsb", "fp32", "peer", "3.0", "3.0", "3.0", "-", "-", "-", "25.00"]


def test_ours_in_bf16_over_the_peers_default_by_hand() -> None:
    """Ours 12 in bf16 against 3 of the peer in fp32 in the same round: 4, whatever the peer does in bf16; 10 against 5: 2; a
    task without fp32: none."""
    cells = [
        {
            "task": task,
            "precision": precision,
            "backend": "torch",
            "quality_of": "k",
            "rounds": rounds(*speeds),
            "summary": summarize(rounds(*speeds)),
        }
        for task, precision, speeds in (
            ("stsb", "fp32", ((9.0, 3.0), (9.0, 5.0))),
            ("stsb", "bf16", ((12.0, 6.0), (10.0, 6.0))),
            ("nli", "bf16", ((8.0, 2.0), (8.0, 2.0))),
        )
    ]
    assert against_default(cells) == {"stsb bf16": {"median": 3.0, "min": 2.0, "max": 4.0, "spread": 2 / 3}}
    told = "ours, stsb bf16, over the peer's default (fp32): 3.00 (2.00 to 4.00)"
    assert bench_table("encode", cells, against_default(cells)).endswith(told)
    assert bench_table("encode", cells, {"stsb bf16": 2.507}).endswith(
        ": 2.51, of medians that were taken one after the other"
    )


# ---------------------------------------------------------------- rows and turns


def test_rows_of_a_training_run(tmp_path: Path) -> None:
    args = arguments("train", "--task", "samples-sts", "--batch-size", "8", "--updates", "20")
    work = bench.write_rows(args, "samples-sts", tmp_path / "rows.json")
    content = json.loads((tmp_path / "rows.json").read_text(encoding="utf8"))
    assert content["task"] == "sts" and len(content["train"]["first"]) == work["rows"] == 131
    assert (work["updates"], work["epochs"]) == (20, 2)  # 17 updates an epoch
    assert set(content["dev"]) == {"first", "second", "labels"}
    assert set(work["data"]) == {"samples/sts/en-train.tsv", "samples/sts/en-dev.tsv"}
    assert all(0 <= label <= 1 for label in content["train"]["labels"])


def test_few_updates_take_no_more_rows_than_they_use(tmp_path: Path) -> None:
    args = arguments("train", "--task", "samples-nli", "--batch-size", "4", "--updates", "5")
    work = bench.write_rows(args, "samples-nli", tmp_path / "rows.json")
    assert (work["rows"], work["updates"], work["epochs"]) == (20, 5, 1)
    whole = bench.write_rows(
        arguments("train", "--batch-size", "4", "--updates", "0"), "samples-nli", tmp_path / "all.json"
    )
    assert (whole["rows"], whole["updates"], whole["epochs"]) == (129, 33, 1)


def test_sentences_of_an_encode_run_are_distinct(tmp_path: Path) -> None:
    args = arguments("encode", "--task", "samples-sts")
    work = bench.write_rows(args, "samples-sts", tmp_path / "rows.json")
    sentences = json.loads((tmp_path / "rows.json").read_text(encoding="utf8"))["sentences"]
    assert len(sentences) == len(set(sentences)) == work["sentences"] > 300
    assert work["quality_of"] == "samples-sts-en-test/spearman_cosine"


def test_ours_and_the_peer_take_turns_with_equal_flags(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, list[str]]] = []

    def measure(words: list[str], threads: int, folder: str) -> dict[str, Any]:
        side = "peer" if words[1].endswith("train_peer.py") else "ours"
        assert Path(words[1]).is_file() or side == "ours"
        started.append((side, words[words.index("--rows") :]))
        return {
            "per_second": {"ours": 6.0, "peer": 2.0}[side],
            "quality": 0.5,
            "threads": threads,
            "updates": 3,
        }

    monkeypatch.setattr(bench, "measure", measure)
    peer = tmp_path / "python"
    peer.write_text("#!/bin/sh\nexit 0\n")
    peer.chmod(0o755)
    output = tmp_path / "speed.json"
    words = [
        "train",
        "--task",
        "samples-sts",
        "--updates",
        "3",
        "--rounds",
        "2",
        "--batch-size",
        "8",
        "--no-limit",
    ]
    words += ["--model", str(tiny_model_dir), "--peer-python", str(peer), "--output", str(output)]
    assert bench.main(words) == 0
    assert [side for side, _ in started] == ["ours", "peer", "ours", "peer"]
    assert all(flags == started[0][1] for _, flags in started)
    text = output.read_text(encoding="utf8")
    assert json.loads(text)["cells"][0]["summary"]["ratio"]["median"] == 3.0
    assert str(tmp_path) not in text and str(tiny_model_dir.parent) not in text


def test_sides_that_did_different_work_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = iter([{"threads": 1, "updates": 3}, {"threads": 1, "updates": 2}])
    monkeypatch.setattr(bench, "measure", lambda *_: next(sides))
    args = arguments("train", "--peer-python", "python")
    args.backend = {}
    with pytest.raises(bench.RunError, match="updates is 3 on our side, 2"):
        bench.measure_round(
            args,
            Path("rows.json"),
            {"precision": "fp32", "backend": "torch"},
            {"epochs": 1, "updates": 3},
            ".",
        )


# ---------------------------------------------------------------- our side


def test_encode_ours_alone(tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "speed.json"
    words = [
        "encode",
        "--task",
        "samples-sts",
        "--limit",
        "20",
        "--rounds",
        "1",
        "--threads",
        "1",
        "--no-limit",
    ]
    assert bench.main([*words, "--model", str(tiny_model_dir), "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    record = json.loads(output.read_text(encoding="utf8"))
    [cell] = record["cells"]
    ours = cell["rounds"][0]["ours"]
    assert ours["count"] == cell["sentences"] == 20 and ours["threads"] == 1
    assert ours["per_second"] == pytest.approx(20 / ours["seconds"])
    assert -1 <= ours["quality"] <= 1  # of the whole test split, though the limit left most of it out
    assert {"command", "date", "commit", "processor", "threads", "settings"} <= set(record)
    assert "samples-sts" in shown and "ours / peer" in shown
    assert [path.name for path in output.parent.iterdir()] == ["speed.json"]


def test_a_process_that_fails_is_one_line_and_exit_1(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho reading >&2\necho RuntimeError: no room >&2\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setattr(bench.sys, "executable", str(failing))
    output = tmp_path / "speed.json"
    words = ["encode", "--task", "samples-sts", "--model", str(tiny_model_dir), "--output", str(output)]
    assert bench.main(words) == 1
    error = capsys.readouterr().err
    assert "bench_worker" in error and "ended with 3: RuntimeError: no room" in error
    assert error.count("\n") == 1 and not output.exists()


@pytest.mark.parametrize("task", ["samples-sts", "samples-nli"])
def test_train_worker(
    task: str, tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.json"
    args = arguments("train", "--batch-size", "16", "--updates", "12")
    work = bench.write_rows(args, task, rows)
    assert work["epochs"] == 2  # 9 updates an epoch, the last batch of 3 (sts) or 1 (nli)
    words = ["train", "--rows", str(rows), "--model", str(tiny_model_dir), "--batch-size", "16"]
    assert bench_worker.main([*words, "--epochs", "2", "--updates", "12"]) == 0
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert measured["updates"] == 12
    short = 16 - work["rows"] % 16  # missing from the last batch of an epoch, which may come anywhere in it
    assert measured["count"] in (12 * 16 - short, 12 * 16 - 2 * short)
    assert measured["per_second"] == pytest.approx(measured["count"] / measured["seconds"])
    assert -1 <= measured["quality"] <= 1


def test_a_backend_has_rounds_and_an_interpreter_of_its_own(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last precision, after the torch backend, ours in turn with it; a round takes everything once."""
    started: list[tuple[str, ...]] = []
    speeds = {"torch fp32": [3.0, 2.0], "torch bf16": [4.5, 4.5], "openvino bf16": [6.0, 6.0]}

    def measure(words: list[str], threads: int, folder: str) -> dict[str, Any]:
        precision = words[words.index("--precision") + 1]
        if not words[1].endswith("encode_peer.py"):
            started.append(("ours", precision))
            return {"per_second": 9.0, "quality": 0.5, "threads": 1, "seconds": 1.0}
        started.append((Path(words[0]).name, words[-1]))
        return {"per_second": speeds[f"{words[-1]} {precision}"].pop(0), "quality": 0.5, "threads": 1}

    monkeypatch.setattr(bench, "measure", measure)
    for name in ("python", "python-openvino"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / name).chmod(0o755)
    output = tmp_path / "speed.json"
    words = ["encode", "--task", "samples-sts", "--rounds", "2", "--precision", "fp32", "bf16", "--no-limit"]
    words += ["--peer-python", str(tmp_path / "python"), "--model", str(tiny_model_dir)]
    words += ["--backend", f"openvino={tmp_path / 'python-openvino'}", "--output", str(output)]
    assert bench.main(words) == 0
    assert started[1::2] == [("python", "torch"), ("python", "torch"), ("python-openvino", "openvino")] * 2
    assert started[::2] == [("ours", "fp32"), ("ours", "bf16"), ("ours", "bf16")] * 2
    record = json.loads(output.read_text(encoding="utf8"))
    assert [cell["summary"]["ratio"]["median"] for cell in record["cells"]] == [3.75, 2.0, 1.5]
    assert record["ours_over_peer_default"] == {
        "samples-sts bf16": {"median": 3.75, "min": 3.0, "max": 4.5, "spread": 0.4}
    }
    assert str(tmp_path) not in output.read_text(encoding="utf8")


def test_pairs_of_a_retrieval_set_are_questions_with_what_bm25_finds(tmp_path: Path) -> None:
    args = arguments("rerank", "--model", "m", "--task", "samples-passages", "--limit", "25")
    work = bench.write_rows(args, "samples-passages", tmp_path / "rows.json")
    pairs = json.loads((tmp_path / "rows.json").read_text())["pairs"]
    pool = load_retrieval("samples-mrc-en")
    texts = [passage.text for passage in pool.passages]
    asked = list(dict.fromkeys(question.text for question in pool.questions))[:25]
    found = BM25(texts).search(asked, bench.CANDIDATES).ids
    assert work["pairs"] == len(pairs) == 25 and len(found[0]) < 25  # more than one question
    assert pairs == [[asked[i], texts[row]] for i, rows in enumerate(found) for row in rows][:25]
    assert work["quality_of"] == "samples-sts-en-test/spearman" and len(work["data"]) == 2


def test_passages_take_the_place_of_sentences(tmp_path: Path) -> None:
    args = arguments("encode", "--task", "samples-passages", "--limit", "7")
    work = bench.write_rows(args, "samples-passages", tmp_path / "rows.json")
    content = json.loads((tmp_path / "rows.json").read_text(encoding="utf8"))
    assert len(content["sentences"]) == work["sentences"] == 7
    assert min(map(len, content["sentences"])) > 100 and content["test"]["first"]
    assert set(work["data"]) == {"samples/mrc/en.json", "samples/sts/en-test.tsv"}
