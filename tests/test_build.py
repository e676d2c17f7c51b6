"""From flags to stages: limits, triplets, selection, names; and what is never overwritten."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.record import _repeatable
from sbert.build import build_objective, build_source, resolve_device
from sbert.errors import RunError, UsageError
from sbert.flag_checks import parse
from sbert.model import modelWithPooling
from sbert.plan import load_stages, overlap_marks
from sbert.run import RunDirectory


def write(path: Path, header: str, *rows: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf8")
    return str(path)


STS = ("sentence1\tsentence2\tscore", *(f"a{i}\tb{i}\t{i / 10}" for i in range(10)))
NLI = ("sentence1\tsentence2\tlabel", *(f"p{i}\th{i}\tneutral" for i in range(6)), "p\tq\tentailment")


def stages(*argv: str):
    return load_stages(parse(list(argv))[0])


def test_triplets_are_made_before_the_limit() -> None:
    """2,000 random rows of a big NLI set hold almost no whole triplet; 20 triplets hold 20."""
    (stage,) = stages(
        "--train-data", "samples-nli", "--objective", "triplet", "--train-limit", "20", "--dev-limit", "5"
    )
    assert [len(s) for s in (*stage.train, *stage.dev)] == [20, 5]
    assert stage.train[0].task == "triplet" and stage.select_on == "samples-nli-dev/accuracy_cosine"


def test_limit_is_a_draw_not_a_head() -> None:
    whole = stages("--train-data", "samples-nli")[0].train[0].examples
    drawn = stages("--train-data", "samples-nli", "--train-limit", "50")[0].train[0].examples
    again = stages("--train-data", "samples-nli", "--train-limit", "50")[0].train[0].examples
    other = stages("--train-data", "samples-nli", "--train-limit", "50", "--seed", "7")[0].train[0].examples
    assert drawn == again != other
    assert drawn != whole[:50] and set(drawn) <= set(whole)


def test_auto_never_selects_an_nli_run_on_sts(tmp_path: Path) -> None:
    nli, sts = write(tmp_path / "nli.tsv", *NLI), write(tmp_path / "dev.tsv", *STS)
    assert stages("--train-data", nli, "--dev-data", sts)[0].select_on is None
    assert stages("--train-data", "samples-nli", "--dev-data", "samples-sts")[0].select_on is None
    train = write(tmp_path / "train.tsv", *STS)
    other = write(tmp_path / "nlidev.tsv", *NLI)
    (stage,) = stages("--train-data", nli, train, "--dev-data", other, sts)
    assert stage.select_on == "dev/spearman_cosine", "the last training set is STS"


def test_constant_dev_scores_are_refused_before_training(tmp_path: Path) -> None:
    flat = write(tmp_path / "flat.tsv", STS[0], "a\tb\t0.5", "c\td\t0.5")
    with pytest.raises(UsageError, match="flat: its 2 gold scores do not differ"):
        stages("--train-data", write(tmp_path / "t.tsv", *STS), "--dev-data", flat)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a" / "x.tsv", *STS), write(tmp_path / "b" / "x.tsv", *STS)
    with pytest.raises(UsageError, match="a set called x is named twice"):
        stages("--train-data", a, b)


def test_epochs_of_the_paper() -> None:
    from sbert.stages import settings_of

    def epochs(*argv: str) -> list[int]:
        flags = parse(list(argv))[0]
        return [settings_of(flags, stage, "fp32").epochs for stage in load_stages(flags)]

    assert epochs("--train-data", "samples-sts") == [4]
    assert epochs("--train-data", "samples-nli") == [1]
    assert epochs("--train-data", "samples-nli", "samples-sts") == [1]
    assert epochs("--train-data", "samples-sts", "samples-nli") == [1]
    assert epochs("--train-data", "samples-nli", "samples-sts", "--mix", "sequence") == [1, 4]
    assert epochs(
        "--train-data", "samples-nli", "samples-sts", "--mix", "sequence", "--epochs", "2", "3"
    ) == [2, 3]


def test_somebody_elses_file_does_not_pass_for_a_registered_set(tiny_model_dir: Path) -> None:
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    model.facts["trained_on"] = ["local:stsb-train"]
    assert overlap_marks(model.facts, [], ["sts12"]) == {}
    model.facts["trained_on"] = ["stsb-train"]
    assert list(overlap_marks(model.facts, [], ["sts12"])) == ["sts12-test"]


def test_saving_never_replaces_what_is_not_a_model(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    write(tmp_path / "project" / "src" / "main.py", "precious")
    with pytest.raises(RunError, match="holds other things"):
        model.save_pretrained(tmp_path / "project")
    assert (tmp_path / "project" / "src" / "main.py").read_text() == "precious\n"
    file = write(tmp_path / "notes.txt", "precious")
    with pytest.raises(RunError, match="is a file"):
        model.save_pretrained(file)
    assert Path(file).read_text() == "precious\n"
    (tmp_path / "empty").mkdir()
    model.save_pretrained(tmp_path / "empty")
    model.save_pretrained(tmp_path / "empty")  # a model directory may be replaced
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    model.save_pretrained(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "link" / "sbert.json").exists()


def test_a_run_never_moves_into_a_folder_with_a_model(tmp_path: Path) -> None:
    write(tmp_path / "x" / "model" / "precious.txt", "precious")
    with pytest.raises(UsageError, match="choose another --output-dir"):
        RunDirectory.create(tmp_path / "x")


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path / "r", unique=True)
    second = RunDirectory.create(tmp_path / "r", unique=True)
    assert first.path != second.path and second.path.is_dir()


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(RunError, match="this machine has"):
        resolve_device("cuda:99999999999999999999")


def test_a_record_keeps_a_command_that_can_be_typed() -> None:
    argv = ["--train-data", "stsb", "--output-dir", "/x/y", "--data-dir=/z", "--concat", "u,v", "--eval-data"]
    assert _repeatable(argv) == ["--train-data", "stsb", "--concat", "u,v", "--eval-data"]


def test_a_metric_that_is_never_a_number_keeps_the_last_model(tmp_path: Path) -> None:
    from loop_parts import SETTINGS, Encoder, source

    from sbert.loop import fit

    encoder = Encoder()
    settings = replace(SETTINGS, eval_steps=1, select_on="dev/x")
    progress = fit(
        encoder,
        [source(encoder)],
        settings,
        evaluate=lambda: {"dev/x": math.nan},
        model_folder=tmp_path / "model",
    )
    assert progress.best is None
    assert len(encoder.saved) == 1, "saved once, at the end"


def test_batches_by_topic_need_passages(tiny_model_dir: Path, tmp_path: Path) -> None:
    """What --objective auto makes of a file is known when the file is read: the flags alone let this pass."""
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    argv = ["--train-data", write(tmp_path / "my.tsv", *STS), "--batch-sampler", "topics"]
    (stage,) = stages(*argv)
    flags = parse(argv)[0]
    objective = build_objective(stage.objectives[0], model, flags)
    with pytest.raises(RunError, match="topics: my has no passages; allowed are auto, length, random"):
        build_source(stage.train[0], objective, model, flags)
    flags = replace(flags, batch_sampler="length")
    assert len(build_source(stage.train[0], objective, model, flags).lengths) == 10
