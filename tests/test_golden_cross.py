"""Cross-encoders written by sentence-transformers, read here: the scores must be its own (tests/golden/README.md)."""

import json
from pathlib import Path

import numpy as np
import pytest

from sbert.cross_encoder import CrossEncoder

GOLDEN = Path(__file__).parent / "golden" / "cross"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/expected.json"))


def expected_of(case: str) -> tuple[list[tuple[str, str]], np.ndarray, str]:
    expected = json.loads((GOLDEN / case / "expected.json").read_text(encoding="utf8"))
    return [(a, b) for a, b in expected["pairs"]], np.array(expected["scores"]), expected["activation"]


def test_there_are_golden_cases() -> None:
    assert len(CASES) >= 10
    limits = [path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()]
    assert sum(limits) < 150_000 * len(CASES)


@pytest.mark.parametrize("case", CASES)
def test_scores_what_the_peer_wrote(case: str, caplog: pytest.LogCaptureFixture) -> None:
    pairs, scores, activation = expected_of(case)
    model = CrossEncoder.from_pretrained(GOLDEN / case / "model")
    assert model.head is None and not model.fresh
    assert model.activation.rsplit(".", 1)[-1] == activation
    np.testing.assert_allclose(model.predict(pairs), scores, rtol=0, atol=1e-6)
    assert "pairs are longer than 32 tokens" in caplog.text


@pytest.mark.parametrize("case", CASES)
def test_survives_saving_and_loading(case: str, tmp_path: Path) -> None:
    pairs, scores, _ = expected_of(case)
    CrossEncoder.from_pretrained(GOLDEN / case / "model").save_pretrained(tmp_path / "again")
    again = CrossEncoder.from_pretrained(tmp_path / "again")
    assert again.head is None and not again.fresh
    np.testing.assert_allclose(again.predict(pairs), scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("electra")])
def test_electra_is_also_read_as_classification_head(case: str) -> None:
    pairs, scores, _ = expected_of(case)
    model = CrossEncoder.from_pretrained(GOLDEN / case / "model", head="classification")
    assert model.head is not None and not model.fresh
    np.testing.assert_allclose(model.predict(pairs), scores, rtol=0, atol=1e-6)
