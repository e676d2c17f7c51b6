"""Records -> Markdown: means, deviations and differences by hand; --check red and green."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import render
from experiments.rows import TABLES
from experiments.rows.row import AVERAGE, Column, Row, Table, score, train

TOY = Table(
    "toy",
    "A toy",
    (Column("STS12", "sts12-test/rho"), Column("B", "b/rho"), Column("Avg", AVERAGE)),
    (
        Row(
            "trained",
            "MiniLM, 4 of 6 layers, (u,|u-v|)",
            "offline",
            (train("--train-data stsb"),),
            (1, 2, 3),
            {"STS12": 60.0, "B": None, "Avg": 55.5},
            {"STS12": 0.4},
            place="stands in for Table 9",
        ),
        Row("same", "The same", "offline", seeds=(1, 2, 3), same_as="toy/trained"),
        Row("scored", "Scored", "offline", (score("minilm", "stsb"),), note="as it is"),
        Row(
            "hub", "Hub", "paper", (score("bert-base-uncased", "stsb"),), paper={"B": 70.0}, place="a README"
        ),
        Row("quoted", "Quoted", "quoted", paper={"STS12": 50.0}, place="Table 9"),
    ),
    note="Of nothing.",
)


def put(
    folder: Path, row: str, seed: int, metrics: dict[str, Any], commit: str = "0123456789abcdef+changes"
) -> None:
    path = folder / "toy" / f"{row}-seed{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    step = {"environment": {"commit": commit, "torch": "2.13.0"}, "device": "cpu", "precision": "fp32"}
    path.write_text(json.dumps({"table": "toy", "row": row, "steps": [step], "metrics": metrics}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(TABLES, "toy", TOY)
    mark = {"sts12-test": "sts12-test is not unseen: stsb"}
    put(tmp_path, "trained", 1, {"sts12-test/rho": 0.60, "b/rho": 0.50, "marks": mark})
    put(tmp_path, "trained", 2, {"sts12-test/rho": 0.62, "b/rho": 0.52, "marks": mark})
    put(tmp_path, "scored", 0, {"sts12-test/rho": 0.7, "b/rho": 0.8, "marks": {}})
    return tmp_path


def test_a_table_by_hand(folder: Path) -> None:
    text = render.render(TOY, folder)
    lines = text.splitlines()
    for line in (
        "|  |  | STS12 | B | Avg |",
        "| --- | --- | ---: | ---: | ---: |",
        r"| MiniLM, 4 of 6 layers, (u,\|u-v\|) | ours, 2 of 3 seeds | 61.00 ± 1.41\* | 51.00 ± 1.41 | 56.00 ± 1.41 |",
        "|  | paper | 60.00 ± 0.40 |  | 55.50 |",
        "|  | difference | +1.00 |  | +0.50 |",
        r"| The same | ours, 2 of 3 seeds | 61.00 ± 1.41\* | 51.00 ± 1.41 | 56.00 ± 1.41 |",
        "| Scored | ours | 70.00 | 80.00 | 75.00 |",
        "| Hub | not run |  |  |  |",
        "|  | published |  | 70.00 |  |",
        "| Quoted | paper | 50.00 |  |  |",
        "- Hub: `python -m experiments.run --table toy --row hub --edition paper`",
        "- Scored: as it is.",
        "- sts12-test is not unseen: stsb",
        "- commit 0123456789+changes, torch 2.13.0, cpu, fp32",
        "python -m experiments.run --table toy --edition offline",
    ):
        assert line in lines, line
    assert render.WHAT_FOUR_LAYERS_ARE in text and "Of nothing." in text
    assert text.count("| difference |") == 1 and text.endswith(
        "```\n\nMeasured with:\n\n- commit 0123456789+changes, torch 2.13.0, cpu, fp32\n"
    )


def test_minutes_by_hand(folder: Path) -> None:
    """Two records with the seconds of their steps, one that only knows those of its training."""
    changes: list[dict[str, Any]] = [
        {"steps": [{"seconds": 60.0}, {"seconds": 30.0}]},
        {
            "steps": [
                {"seconds": 999.0, "metrics": {"stages": [{"train_seconds": 120.0}]}},
                {},
            ],  # cut short later
            "metrics": {"stages": [{"train_seconds": 60.0}, {"train_seconds": 180.0}]},
        },
        {"steps": [{"seconds": 30.0}]},
    ]
    for name, change in zip(("trained-seed1", "trained-seed2", "scored-seed0"), changes, strict=True):
        path = folder / f"toy/{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    text = render.render(TOY, folder)
    assert "\n\n3 of the runs say how long they took" in text
    assert (
        ": 8 minutes in all, 1.5 the median." in text
    )  # 1.5, 6 and 0.5; the row of the same runs counts nothing


def test_a_row_without_records_says_so(folder: Path, tmp_path: Path) -> None:
    text = render.render(TOY, tmp_path / "nothing")
    assert "| Scored | not run |  |  |  |" in text and "| ours" not in text
    assert "- The same: `python -m experiments.run --table toy --row trained --edition offline`" in text
    assert "Measured with" not in text and "\\*" not in text


def test_check_is_red_and_green(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tables"
    assert render.main(["--check"], out, folder) == 1  # nothing there yet
    assert capsys.readouterr().err.count("\n") == len(TABLES)
    assert render.main([], out, folder) == 0
    assert {path.stem for path in out.glob("*.md")} == set(TABLES)
    assert render.main(["--check"], out, folder) == 0
    before = (out / "toy.md").read_bytes()
    put(folder, "trained", 3, {"sts12-test/rho": 0.64, "b/rho": 0.54})
    capsys.readouterr()
    assert render.main(["--check"], out, folder) == 1
    assert f"{out / 'toy.md'} is not what the records give" in capsys.readouterr().err
    assert (out / "toy.md").read_bytes() == before  # a check writes nothing
    assert render.main([], out, folder) == 0 and render.main(["--check"], out, folder) == 0
    assert "| ours, 3 seeds | 62.00 ± 2.00" in (out / "toy.md").read_text(encoding="utf8")
    (out / "table0.md").write_text("left over")
    assert render.main(["--check"], out, folder) == 1


def test_a_damaged_record_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "toy/scored-seed0.json").write_text("[]")
    assert render.main([], tmp_path / "tables", folder) == 1
    assert "scored-seed0.json: holds a list, expected a dict" in capsys.readouterr().err


def test_pictures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "matplotlib", None)
        patch.setitem(__import__("sys").modules, "matplotlib.figure", None)
        assert render.main([], tmp_path / "tables", folder) == 0
        assert "no pictures: they need matplotlib (pip install matplotlib)" in capsys.readouterr().out
        page = tmp_path / "tables/toy.md"
        assert "![" not in page.read_text(encoding="utf8")
        (tmp_path / "tables/toy.png").write_bytes(b"one that was drawn before")
        assert render.main([], tmp_path / "tables", folder) == 0
        assert page.read_text(encoding="utf8").endswith("\n\n![Ours against the paper's](toy.png)\n")
        assert render.main(["--check"], tmp_path / "tables", folder) == 0
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert render.main([], tmp_path / "tables", folder) == 0
    assert "pictures: toy" in capsys.readouterr().out and (tmp_path / "tables/toy.png").exists()


def test_committed_tables_are_what_the_records_give() -> None:
    assert render.stale() == []
