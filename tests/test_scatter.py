"""The picture of gold scores against a model's: the means by hand, what is refused, one small picture."""

from pathlib import Path

import pytest

from experiments import scatter


def test_means_of_the_tenths_by_hand() -> None:
    """0 and 0.05 are in the first tenth, 0.95 and 1 in the last; nothing is between."""
    found = scatter.means([0.0, 0.05, 1.0, 0.95], [0.2, 0.4, 0.9, 0.7])
    assert [pytest.approx(pair) for pair in found] == [(0.025, 0.3), (0.975, 0.8)]


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["--output", "x.jpg"], 2, "x.jpg"),
        (["--data", "samples-nli-en"], 2, "takes sts data"),
        (["--data", "stsbb"], 1, "did you mean stsb"),
        (["--arch", "cross"], 1, "not a trained cross-encoder"),
    ],
)
def test_what_is_refused(
    words: list[str], code: int, said: str, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    given = ["--model", str(tiny_model_dir), "--data", "samples-sts-en"]
    assert scatter.main([*given, *words]) == code
    assert said in capsys.readouterr().err


def test_without_matplotlib_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert scatter.main([]) == 1
    assert capsys.readouterr().err.strip().endswith("pip install matplotlib")


def test_a_picture_and_a_log(tiny_model_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "x.png"
    words = ["--model", str(tiny_model_dir), "--data", "samples-sts-en", "--output", str(out)]
    assert scatter.main([*words, "--tensorboard", str(tmp_path / "log")]) == 0
    assert out.read_bytes().startswith(b"\x89PNG") and list((tmp_path / "log").iterdir())
