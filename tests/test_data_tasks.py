"""What a name stands for, in whichever registry it is."""

from pathlib import Path

import pytest

from data import DataError, UnknownName
from data.tasks import is_local, is_retrieval, key_of, split_of, splits_of, stem_of, task_of


@pytest.mark.parametrize(
    ("name", "task", "retrieval", "local"),
    [
        ("stsb", "sts", False, False),
        ("samples", "sts", False, False),
        ("nli-en-dev", "nli", False, False),
        ("squad", "retrieval", True, False),
        ("samples-mrc-ko-dev", "retrieval", True, False),
        ("a/my.json", "retrieval", True, True),
        ("my.zip", "retrieval", True, True),
        ("my.tsv", None, False, True),
        ("my.jsonl.gz", None, False, True),
    ],
)
def test_names(name: str, task: str | None, retrieval: bool, local: bool) -> None:
    assert (task_of(name), is_retrieval(name), is_local(name)) == (task, retrieval, local)


def test_a_folder_is_retrieval_data_unless_a_set_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "stsb").mkdir()
    assert task_of("mine") == "retrieval" and is_local("mine") and splits_of("mine") == ()
    assert task_of("stsb") == "sts" and not is_local("stsb")


def test_splits_and_keys() -> None:
    assert split_of("squad", "train") == "train" and split_of("squad-dev", "train") == "dev"
    assert split_of("squad") == "test" and split_of("my.json", "train") is None
    assert key_of("squad") == "squad-test" and key_of("samples-mrc-en-dev") == "samples-mrc-en-dev"
    assert key_of("sickr-all") == "sickr-all" and stem_of("squad-dev") == "squad"
    assert splits_of("squad") == ("train", "dev", "test")
    with pytest.raises(DataError, match="nfcorpus has no split"):
        split_of("nfcorpus", "nowhere")


def test_an_unknown_name_lists_both_registries() -> None:
    with pytest.raises(UnknownName) as caught:
        task_of("sqad")
    assert caught.value.suggestion == "squad"
    assert {"stsb", "squad", "korquad"} <= set(caught.value.allowed)
