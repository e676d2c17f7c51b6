"""Several processes: the gradients, vectors and answers of one."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import together
from train_process import contents

from experiments import encode as command
from experiments import retrieve
from experiments.ranks import CASES, Case, build, differences, nli, sts, triplets
from sbert import distributed
from sbert.encode import encode
from sbert.errors import RunError
from sbert.loop import Settings, accumulate_gradients
from sbert.precision import grad_scaler
from sbert.trains_on import OBJECTIVES

COUNT = 2
TEXTS = [f"the man {'walks ' * (i % 9)}in the park {i}" for i in range(90)]
RETRIEVE = ("--data", "samples-mrc-en", "--split", "dev", "--retriever", "dense", "--precision", "fp32")


# ---------------------------------------------------------------- what each process does


def work(model: str, folder: str) -> dict[str, Any]:
    """Everything that is asked of processes that can talk; what this one of them found."""
    torch.set_num_threads(1)
    before = torch.get_rng_state()
    distributed.start(torch.device("cpu"))
    me = distributed.rank()
    found: dict[str, Any] = {"me": me, "count": distributed.count(), "written": folder}
    found["alike"] = distributed.from_first({"from": me, "nan": float("nan"), "text": "가"})
    found["most"] = distributed.most(3 * me + 1)
    distributed.check_alike({"a": (1, 2), "b": None})
    try:
        distributed.check_alike({"a": [1, 2], "b": 0.5 * me, **({"c": 1} if me else {})})
    except RunError as error:
        found["unlike"] = str(error)
    found["gradients"] = {case.name: differences(build(case, model, None), range(7)) for case in CASES}
    found["one row"] = [differences(build(case, model, None), [4]) for case in ONE_ROW]
    found["own share"] = own_share(model)
    found["dropout"] = dropout()
    found["overflow"] = overflow(model)
    found["classifier"] = classifier(model)
    found["vectors"] = vectors(model)
    found["few vectors"] = vectors(model, 1)
    found["weights"] = weights()
    torch.set_rng_state(before)
    distributed.stop()
    if me == 0:
        Path(folder).mkdir(exist_ok=True)
    words = ["--model", model, "--index", f"{folder}/index", "--output", f"{folder}/found"]
    found["retrieve"] = retrieve.main([*RETRIEVE, *words])
    return found


def left_waiting(folder: str) -> list[Any]:
    """What the first process is told while the other hangs until it has been told, and after how many seconds."""
    distributed.start(torch.device("cpu"), timedelta(seconds=2))
    told = Path(folder) / "told"
    if distributed.rank() > 0:
        while not told.exists():
            time.sleep(0.05)
        return []
    begun = time.monotonic()
    try:
        distributed.most(7)
        return ["nothing"]
    except RunError as error:
        return [str(error), time.monotonic() - begun]
    finally:
        told.touch()


def shards(corpus: str, folder: str, others: str) -> dict[str, Any]:
    """Exit codes: a corpus encoded, once more with a shard lost, where the second process reads another corpus, and where it
    was started with other flags."""
    words = ["--model", "minilm", "--shard-rows", "20", "--threads", "1", "--output"]
    words[1] = str(Path(folder).parent / "model")
    me = int(os.environ["RANK"])
    codes = [command.main(["--corpus", corpus, *words, folder])]
    if me == 0:
        shutil.rmtree(Path(folder) / "shard-000001")
    distributed.wait()
    distributed.stop()
    codes.append(command.main(["--corpus", corpus, *words, folder]))
    distributed.stop()
    codes.append(command.main(["--corpus", (corpus, others)[me], *words, f"{folder}-others"]))
    distributed.stop()
    codes.append(command.main(["--corpus", corpus, *words, f"{folder}-flags", *["--normalize"][: 1 - me]]))
    return {"codes": codes}


# a triplet brings one question, which one process encodes, and two passages, one for each
ONE_ROW = (
    Case("bi", "regression", sts, {}),
    Case("bi", "ranking", triplets, {"towers": "separate"}),
)


def own_share(model: str) -> list[float]:
    """The norm of this process's gradients before they are summed, and after."""
    source = build(Case("bi", "classification", nli, {}), model, None)
    batch, objective = source.batch(range(7), torch.device("cpu")), source.objective
    accumulate_gradients(objective, batch, Settings(), grad_scaler(torch.device("cpu"), "fp32"), 1.0)
    norms = [next(objective.model.parameters()).grad.norm().item()]
    distributed.sum_gradients([objective])
    return [*norms, next(objective.model.parameters()).grad.norm().item()]


def dropout() -> dict[str, Any]:
    """Draws inside own_randomness, twice of the same numbers, once of others; and one after."""
    torch.manual_seed(4)
    drawn = []
    for numbers in ((1, 2), (1, 2), (1, 3), (-1, 2)):
        with distributed.own_randomness(*numbers):
            drawn.append(torch.rand(()).item())
    return {"inside": drawn, "after": torch.rand(()).item()}


def overflow(model: str) -> bool:
    """Whether this process finds an infinity that only the last one has."""
    source = build(Case("bi", "regression", sts, {}), model, None)
    parameter = next(source.objective.model.parameters())
    parameter.grad = torch.full_like(parameter, torch.inf if distributed.rank() == COUNT - 1 else 1.0)
    distributed.sum_gradients([source.objective])
    return bool(parameter.grad.isinf().all())


def classifier(model: str) -> list[float]:
    """The gradients of a classifier that got another one on every process."""
    objective = build(Case("bi", "classification", nli, {}), model, None).objective
    for parameter in objective.classifier.parameters():
        parameter.grad = torch.full_like(parameter, distributed.rank() + 1.0)
    distributed.sum_gradients([objective])
    return torch.cat([p.grad.flatten() for p in objective.classifier.parameters()]).unique().tolist()


def vectors(model: str, count: int = 90) -> tuple[str, int]:
    """The sha256 of the vectors of so many texts, and how many batches were encoded here."""
    network = build(Case("bi", "regression", sts, {}), model, None).objective.model
    batches: list[int] = []
    network.register_forward_hook(lambda *_: batches.append(1))
    embeddings = encode(network, TEXTS[:count], batch_tokens=100).embeddings
    return hashlib.sha256(embeddings.tobytes()).hexdigest(), len(batches)


def weights() -> list[float]:
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, distributed.rank() + 1.0)
    distributed.copy_weights(layer)
    return layer.weight.flatten().tolist()


# ---------------------------------------------------------------- what they found


@pytest.fixture(scope="module")
def found(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    return together(COUNT, work, folder, str(tiny_model_dir), str(folder / "written"))


def test_processes_agree(found: list[dict[str, Any]]) -> None:
    assert [(one["me"], one["count"]) for one in found] == [(r, COUNT) for r in range(COUNT)]
    for one in found:
        nan = one["alike"].pop("nan")
        assert nan != nan and one["alike"] == {"from": 0, "text": "가"}
        assert one["most"] == 3 * (COUNT - 1) + 1
        assert one["weights"] == [1.0]
    assert [one["unlike"] for one in found] == ["process 1 has b 0.5, the first one 0.0"] * COUNT


def test_every_objective_has_a_case() -> None:
    assert {(case.arch, case.objective) for case in CASES} == {
        (arch, objective) for arch, known in OBJECTIVES.items() for objective in known
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_are_those_of_one_process(found: list[dict[str, Any]], case: Case) -> None:
    """classificationHead computes in fp32 whatever the encoder: what is exact elsewhere is rounded there."""
    limit = 1e-6 if case.flags.get("head") == "classification" else 1e-12
    for one in found:
        differs = one["gradients"][case.name]
        assert differs["fp64"] < limit and differs["cached"] < limit and differs["fp32"] < 1e-5, differs


def test_a_batch_of_fewer_rows_than_processes(found: list[dict[str, Any]]) -> None:
    for one in found:
        for differs in one["one row"]:
            assert max(differs["fp64"], differs["cached"]) < 1e-12


def test_each_process_encodes_its_share(found: list[dict[str, Any]]) -> None:
    shares = [one["own share"][0] for one in found]
    assert len(set(shares)) == COUNT
    assert len({one["own share"][1] for one in found}) == 1  # bit for bit, or weights would drift apart


def test_dropout_differs_and_what_batches_draw_does_not(found: list[dict[str, Any]]) -> None:
    torch.manual_seed(4)
    after = torch.rand(()).item()
    for one in found:
        first, again, other, negative = one["dropout"]["inside"]
        assert first == again and len({first, other, negative}) == 3
        assert one["dropout"]["after"] == after
    assert len({one["dropout"]["inside"][0] for one in found}) == COUNT


def test_an_overflow_on_one_process_is_found_by_all(found: list[dict[str, Any]]) -> None:
    assert all(one["overflow"] for one in found)


def test_all_take_the_first_ones_gradient_of_a_classifier(found: list[dict[str, Any]]) -> None:
    """Each has it whole; were they summed, it would count twice, and were they kept, rounding could part them."""
    assert all(one["classifier"] == [1.0] for one in found)


def test_vectors_are_those_of_one_process(found: list[dict[str, Any]], tiny_model_dir: Path) -> None:
    torch.set_num_threads(1)
    for name, count in (("vectors", 90), ("few vectors", 1)):
        alone, batches = vectors(str(tiny_model_dir), count)
        assert {one[name][0] for one in found} == {alone}
        shares = [one[name][1] for one in found]
        assert sum(shares) == batches and max(shares) - min(shares) <= 1


def test_an_index_is_that_of_one_process(
    found: list[dict[str, Any]], tiny_model_dir: Path, tmp_path: Path
) -> None:
    assert [one["retrieve"] for one in found] == [0] * COUNT
    words = [
        "--model",
        str(tiny_model_dir),
        "--index",
        str(tmp_path / "index"),
        "--output",
        str(tmp_path / "found"),
    ]
    assert retrieve.main([*RETRIEVE, *words]) == 0
    written = Path(found[0]["written"])
    for name in ("index/embeddings.npy", "index/ids.json", "found/dense.run"):
        assert (written / name).read_bytes() == (tmp_path / name).read_bytes()


# ---------------------------------------------------------------- alone


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    (message, seconds), _ = together(COUNT, left_waiting, tmp_path, str(tmp_path))
    assert message.startswith("one of the 2 processes has ended or does not answer (")
    assert 1.5 < seconds < 60


def test_shards_are_those_of_one_process(tiny_model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(tiny_model_dir)
    corpus, others = tmp_path / "corpus.txt", tmp_path / "others.txt"
    corpus.write_text("\n".join(TEXTS))
    others.write_text("\n".join(TEXTS[:50]))
    words = ["--model", str(tiny_model_dir), "--shard-rows", "20", "--threads", "1"]
    assert command.main(["--corpus", str(corpus), *words, "--output", str(tmp_path / "alone")]) == 0
    found = together(COUNT, shards, tmp_path, str(corpus), str(tmp_path / "shared"), str(others))
    assert [one["codes"] for one in found] == [[0, 0, 1, 1]] * 2
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
    assert not (tmp_path / "shared-others/complete.json").exists()
    assert not (tmp_path / "shared-flags").exists()


def test_one_process_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither without torchrun, nor where it has started one process, nor before start."""
    features = [{"input_ids": torch.zeros(3, 2), "attention_mask": torch.ones(3, 2)}]
    for told in ({}, {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}):
        with monkeypatch.context() as patch:
            for name, value in told.items():
                patch.setenv(name, value)
            distributed.start(torch.device("cpu"))
            assert distributed.count() == 1 and distributed.rank() == 0
    state = torch.get_rng_state()
    with distributed.own_randomness(1), distributed.first_alone():
        assert torch.equal(torch.get_rng_state(), state)
    assert distributed.share(features) is features
    vector = torch.ones(3, 2)
    assert distributed.gather([vector], features)[0] is vector
    answer = object()
    assert distributed.from_first(answer) is answer and distributed.most(7) == 7
