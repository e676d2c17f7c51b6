"""Draw the gold scores of an STS set against what a model says of its pairs, as a PNG and, if wanted, into TensorBoard.

    python -m experiments.scatter --model minilm --data stsb --output stsb.png
    python -m experiments.scatter --model runs/x/model --data stsb --tensorboard runs/x/tensorboard --output after.png
    python -m experiments.scatter --arch cross --model runs/c/model --data stsb --output cross.png

One point a pair, and the mean of every tenth of the gold scores: a good model's means rise steadily, whatever its scale,
since Spearman asks for the order alone. Where a model's points lie far from the line of means, its errors are.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.examples import DataError
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser

INSTALL = "pip install matplotlib"
BINS = 10
SAID = {"bi": "cosine", "cross": "score"}


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.scatter",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="minilm", help="minilm, a directory, or a hub id [minilm]")
    parser.add_argument("--arch", choices=tuple(SAID), default="bi", help="bi- or cross-encoder [bi]")
    parser.add_argument(
        "--data", default="stsb", help="an STS set, its test split where none is named [stsb]"
    )
    parser.add_argument("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    parser.add_argument("--output", type=Path, default=Path("scatter.png"), help="the .png [scatter.png]")
    parser.add_argument("--tensorboard", metavar="DIR", help="a log that gets the picture as well")
    return parser


def means(gold: Sequence[float], said: Sequence[float]) -> list[tuple[float, float]]:
    """(mean gold, mean said) of each tenth of the gold scale 0..1 that holds a pair; 1 belongs to the last tenth."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for pair in zip(gold, said, strict=True):
        bins.setdefault(min(BINS - 1, int(pair[0] * BINS)), []).append(pair)
    return [
        (sum(g for g, _ in pairs) / len(pairs), sum(s for _, s in pairs) / len(pairs))
        for _, pairs in sorted(bins.items())
    ]


def scores(args: argparse.Namespace) -> tuple[str, list[float], list[float]]:
    """(key of the set, gold scores 0..1, what the model says of every pair)."""
    import data
    from sbert.augment import cosines
    from sbert.cross_encoder import CrossEncoder
    from sbert.model import modelWithPooling

    dataset = data.load(args.data, data.split_for(args.data), data_dir=args.data_dir)
    if dataset.task != "sts":
        raise UsageError(f"--data {args.data} is {dataset.task} data: a picture of scores takes sts data")
    pairs = [(e.texts[0], e.texts[1]) for e in dataset.examples]
    if args.arch == "bi":
        said = cosines(modelWithPooling.from_pretrained(args.model), pairs)
    else:
        model = CrossEncoder.from_pretrained(args.model)
        if model.fresh or model.num_labels != 1:
            raise RunError(f"--model {args.model}: not a trained cross-encoder of one score a pair")
        said = model.predict(pairs)
    gold = [float(e.label) for e in dataset.examples]  # type: ignore[arg-type]  # of an STS pair it is a number
    return dataset.key, gold, said.tolist()


def draw(title: str, gold: Sequence[float], said: Sequence[float], axis: str) -> Any:
    """A matplotlib Figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="gold score, 0 to 1", ylabel=axis)
    axes.scatter(gold, said, s=6, alpha=0.3, linewidths=0)
    axes.plot(*zip(*means(gold, said), strict=True), color="C1", marker="o", label="mean of a tenth")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def run(args: argparse.Namespace) -> str:
    if args.output.suffix != ".png":
        raise UsageError(f"--output {args.output}: must end in .png")
    if not args.output.absolute().parent.is_dir():
        raise UsageError(f"--output {args.output}: there is no folder {args.output.parent}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise RunError(f"this picture needs matplotlib: {INSTALL}") from None
    import numpy as np

    from sbert.evaluation.sts import correlations
    from sbert.run import set_up_logging

    set_up_logging()
    key, gold, said = scores(args)
    pearson, spearman = correlations(np.asarray(said), gold)
    title = f"{key}, {Path(args.model).name}: Spearman {100 * spearman:.2f}, Pearson {100 * pearson:.2f}"
    figure = draw(title, gold, said, SAID[args.arch])
    figure.savefig(args.output, dpi=120)
    if args.tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(args.tensorboard) as writer:
            writer.add_figure(f"gold against {SAID[args.arch]}/{key}", figure)
    return f"{title}\n{args.output}"


def main(argv: Sequence[str]) -> int:
    try:
        print(run(build_parser().parse_args(argv)))
    except UsageError as error:
        print(f"scatter: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"scatter: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
