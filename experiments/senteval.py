"""The transfer tasks of the paper's Table 5 (SentEval): a logistic regression on frozen sentence embeddings.

    python -m experiments.senteval --model minilm --output-dir runs/transfer
    python -m experiments.senteval --model runs/x/model --tasks cr trec --output-dir runs/transfer-x

Every distinct sentence of all tasks is encoded once. Features of a sentence are its embedding as the model gives it,
nothing standardised; of a pair (u, v) of MRPC they are |u - v| and u * v side by side, as in SentEval.

mr cr subj mpqa   10 stratified folds; the strength of the L2 penalty is chosen for each by 5-fold cross-validation on the
                  other nine (SentEval: 10), from six; the accuracy is the mean over the folds
sst2              the strength is chosen on dev; trained on the 6,920 whole sentences of train, no phrases
trec mrpc         the strength is chosen by 10-fold cross-validation on train

The classifier, its penalty and its folds: sbert/evaluation/transfer.py. Writes config.json and metrics.json (accuracies
0..1 such as "mr/accuracy"; "avg/accuracy", the mean of the seven, where all are asked for; "mrpc/f1" of paraphrases).
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.examples import DataError, DataSet
from data.senteval import TASKS, load_parts
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser, suggestion
from sbert.flags import POOLINGS

if TYPE_CHECKING:
    import numpy as np

    from sbert.encode import Encoded
    from sbert.evaluation.transfer import Outcome
    from sbert.model import modelWithPooling

Parts = dict[str, DataSet]  # split -> its rows, in the order train, dev, test, or "all" alone


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.senteval",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--model",
        default="minilm",
        help="bi-encoder: minilm, a directory, a hub id, or a file of word vectors [minilm]",
    )
    add("--num-layers", type=int, metavar="N", help="keep only the first N encoder layers")
    add(
        "--average-layers",
        type=int,
        metavar="N",
        help="token vectors: the mean of the last N layers; default: the model's",
    )
    add("--pooling", choices=POOLINGS, help="default: the model directory's, else mean")
    add(
        "--normalize",
        choices=("auto", "yes", "no"),
        default="auto",
        help="unit vectors; auto: as the model is [auto]",
    )
    add("--max-length", type=int, metavar="N", help="tokens a sentence; default: the model's limit")
    add("--tasks", nargs="+", default=list(TASKS), metavar="T", help=f"of {' '.join(TASKS)} [all]")
    add("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA, then downloads")
    add("--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of the encoder [fp32]")
    add(
        "--device",
        default="auto",
        help="of the encoder: auto, cpu, cuda, cuda:1; the classifier runs on the CPU [auto]",
    )
    add("--threads", type=int, default=0, metavar="N", help="CPU threads (0: all) [0]")
    add("--output-dir", type=Path, required=True, help="where config.json and metrics.json are written")
    return parser


def check(args: argparse.Namespace) -> None:
    """Everything that can be known to be wrong before a file is opened. Raises UsageError."""
    for task in args.tasks:
        if task not in TASKS:
            raise UsageError(f"--tasks {task!r}: allowed are {', '.join(TASKS)}{suggestion(task, TASKS)}")
    if len(set(args.tasks)) < len(args.tasks):
        raise UsageError(f"--tasks {' '.join(args.tasks)}: names one twice")
    for name, least in {"num_layers": 1, "average_layers": 1, "max_length": 3, "threads": 0}.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise UsageError(f"--device {args.device}: allowed are auto, cpu, cuda, cuda:N")
    if (args.output_dir / "config.json").exists():
        raise UsageError(f"--output-dir {args.output_dir}: already holds a run; name another")


def load_model(args: argparse.Namespace) -> "modelWithPooling":
    from sbert.build import resolve_device
    from sbert.model import modelWithPooling

    return modelWithPooling.from_pretrained(
        args.model,
        pooling_type=args.pooling,
        num_layers=args.num_layers,
        average_layers=args.average_layers,
        max_length=args.max_length,
        normalize={"yes": True, "no": False, "auto": None}[args.normalize],
        device=resolve_device(args.device),
    )


def encode_all(
    model: "modelWithPooling", tasks: dict[str, Parts], precision: str
) -> "tuple[Encoded, dict[str, int]]":
    """Vectors of the distinct texts of all tasks, and the row of each text."""
    from sbert.encode import encode

    examples = [example for parts in tasks.values() for part in parts.values() for example in part.examples]
    texts = list(dict.fromkeys(text for example in examples for text in example.texts))
    encoded = encode(model, texts, precision=precision, progress=True)
    return encoded, {text: row for row, text in enumerate(texts)}


def features_of(parts: Parts, vectors: "np.ndarray", rows: dict[str, int]) -> "np.ndarray":
    """(N, D) of sentences or (N, 2 D) of pairs, the rows of all parts one after the other."""
    import torch

    from heads.pair_features import pair_features

    examples = [example for part in parts.values() for example in part.examples]
    columns = [
        torch.from_numpy(vectors[[rows[example.texts[i]] for example in examples]])
        for i in range(len(examples[0].texts))
    ]
    return (columns[0] if len(columns) == 1 else pair_features(columns[0], columns[1], "|u-v|,u*v")).numpy()


def score(parts: Parts, features: "np.ndarray") -> "Outcome":
    """The protocol that the splits of a task ask for."""
    import numpy as np

    from sbert.evaluation.transfer import TransferTask

    task = TransferTask(features, [example.label for part in parts.values() for example in part.examples])  # type: ignore[misc]
    ends = np.cumsum([len(part) for part in parts.values()])
    rows = {split: np.arange(end - len(parts[split]), end) for split, end in zip(parts, ends, strict=True)}
    if "all" in rows:
        return task.cross_validate()
    if "dev" in rows:
        return task.train_dev_test(rows["train"], rows["dev"], rows["test"])
    return task.train_test(rows["train"], rows["test"])


def metrics_of(task: str, parts: Parts, outcome: "Outcome") -> dict[str, float]:
    import numpy as np

    from sbert.evaluation.transfer import f1_of_class

    out = {f"{task}/accuracy": outcome.accuracy, f"{task}/l2": outcome.usual_strength[0]}
    if len(outcome.accuracies) > 1:
        out[f"{task}/accuracy_sd"] = outcome.deviation
    if task == "mrpc":
        gold = np.array([example.label for example in parts["test"].examples])
        out[f"{task}/f1"] = f1_of_class(outcome.predicted, gold, 1)
    return out


def run(args: argparse.Namespace) -> str:
    """Writes the run directory; returns what is printed."""
    import torch

    from sbert.run import RunDirectory, environment, log, set_up_logging

    set_up_logging()
    if args.threads:
        torch.set_num_threads(args.threads)
    directory = RunDirectory(Path(args.output_dir))
    directory.refuse_second_run()
    tasks = {task: load_parts(task, data_dir=args.data_dir) for task in args.tasks}
    model = load_model(args)
    flags = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name != "argv"
    }
    facts = {"argv": args.argv, "flags": flags, "environment": environment()}
    hashes = {
        name: sha for parts in tasks.values() for part in parts.values() for name, sha in part.files.items()
    }
    facts |= {"device": str(model.device), "precision": args.precision, "data": hashes, "model": model.facts}
    started = time.perf_counter()
    encoded, rows = encode_all(model, tasks, args.precision)
    encoding = time.perf_counter() - started
    log.info("%s distinct sentences encoded in %.1f s", f"{encoded.distinct:,}", encoding)
    metrics: dict[str, float] = {}
    outcomes: dict[str, Outcome] = {}
    for task, parts in tasks.items():
        begun = time.perf_counter()
        outcomes[task] = score(parts, features_of(parts, encoded.embeddings, rows))
        metrics |= metrics_of(task, parts, outcomes[task])
        seconds = time.perf_counter() - begun
        log.info(
            "%s: accuracy %.2f, %d fits in %.1f s",
            task,
            100 * outcomes[task].accuracy,
            outcomes[task].fits,
            seconds,
        )
    if len(tasks) == len(TASKS):
        metrics["avg/accuracy"] = sum(outcome.accuracy for outcome in outcomes.values()) / len(TASKS)
    whole = time.perf_counter() - started
    counts = {
        "fits/all": sum(outcome.fits for outcome in outcomes.values()),
        "fits/unconverged": sum(outcome.unconverged for outcome in outcomes.values()),
        "encode/distinct_texts": encoded.distinct,
        "encode/truncated_texts": encoded.truncated,
        "encode/seconds": encoding,
        "classify/seconds": whole - encoding,
    }
    directory = RunDirectory.create(directory.path)  # only now: what was stopped leaves nothing behind
    directory.write(directory.config_path, facts)
    directory.write(directory.metrics_path, {**metrics, **counts})
    said = f"{encoded.distinct:,} distinct sentences, {encoded.truncated:,} truncated to {model.max_length} tokens, "
    said += f"encoded in {encoding:.1f} s ({args.precision} on {model.device}), classified in {whole - encoding:.1f} s"
    return f"{report(tasks, outcomes, metrics)}\n\n{said}; written to {directory.metrics_path}"


def report(tasks: dict[str, Parts], outcomes: "dict[str, Outcome]", metrics: dict[str, float]) -> str:
    """One row a task, and what a reader of it has to know."""
    from sbert.evaluation.transfer import FOLDS, STRENGTHS, TOLERANCE
    from sbert.report import percent, table

    protocols = {"all": f"{FOLDS} folds", "train dev test": "l2 by dev", "train test": f"l2 by {FOLDS} folds"}
    rows, notes = [], []
    for task, parts in tasks.items():
        outcome = outcomes[task]
        l2, times = outcome.usual_strength
        classes = len({example.label for part in parts.values() for example in part.examples})
        sizes = "/".join(f"{len(part):,}" for part in parts.values())
        chosen = f"{l2:g}" + (f" ({times} of {len(outcome.strengths)})" if len(outcome.strengths) > 1 else "")
        cells = [percent(outcome.accuracy), percent(outcome.deviation), chosen]
        rows.append([task, sizes, str(classes), protocols[" ".join(parts)], *cells])
        if l2 in (STRENGTHS[0], STRENGTHS[-1]):
            notes.append(
                f"{task}: l2 {l2:g} is the end of what was tried ({STRENGTHS[0]:g} to {STRENGTHS[-1]:g})"
            )
        if outcome.unconverged:
            notes.append(
                f"{task}: {outcome.unconverged} of {outcome.fits} fits ended with a gradient above {TOLERANCE:g}: "
                "not at their optimum"
            )
    if "avg/accuracy" in metrics:
        rows.append(["avg", "", "", "", percent(metrics["avg/accuracy"]), "", ""])
    if "mrpc/f1" in metrics:
        notes.append(f"mrpc: F1 of paraphrases {percent(metrics['mrpc/f1'])}")
    header = ["task", "rows", "classes", "protocol", "accuracy", "sd", "l2"]
    legend = "accuracy x 100, of 10 folds their mean, sd their standard deviation; l2: chosen, of 10 folds most often"
    return "\n".join([table(header, rows), legend, *notes])


def main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    args.argv = list(argv)
    try:
        check(args)
        print(run(args))
    except UsageError as error:
        print(f"senteval: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"senteval: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        print("senteval: interrupted, nothing written", file=sys.stderr)
        code = 130
    raise SystemExit(code)
