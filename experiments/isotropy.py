"""How alike a model's vectors of different sentences are, by layer and pooling: what a training has to start from.

    python -m experiments.isotropy --num-layers 4 6 --output isotropy.json
    python -m experiments.isotropy --model runs/x/model

Two sentences that have nothing to do with one another should have a cosine far below 1. Where the mean is near 1 and hardly
varies, all vectors point one way and the pooled token says next to nothing of its sentence (anisotropy: Ethayarajh, arXiv
1909.00512): a training must first pull them apart. Beside it stands the set's Spearman as it is, which looks at the order alone
and may be fair all the same.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.examples import DataError
from data.files import write_text_atomically
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser
from sbert.jsonfile import to_json
from sbert.report import table

POOLINGS = ("mean", "max", "cls")


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.isotropy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", default="minilm", help="minilm, a directory, or a hub id [minilm]")
    add("--num-layers", type=int, nargs="+", metavar="N", help="keep only the first N; default: all")
    add("--pooling", nargs="+", choices=POOLINGS, default=POOLINGS, help="[mean max cls]")
    add("--data", default="stsb-dev", help="an STS set, its test split where none is named [stsb-dev]")
    add("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    add("--output", type=Path, help="a .json for the record")
    return parser


def cosines_between(vectors: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and standard deviation of the cosine of two different rows, over all pairs of them: (N, D), N >= 2.

    The sum over all pairs of unit rows u is the square of their sum's length, that of the squared cosines the squared
    Frobenius norm of U'U; from both go the N ones of a row with itself. A row of zeros has cosine 0 to all.
    """
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros(vectors.shape), where=length > 0)
    own = float((unit * unit).sum())  # the number of rows that are not zero
    pairs = len(unit) * (len(unit) - 1)
    mean = (float(np.square(unit.sum(axis=0)).sum()) - own) / pairs
    squares = (float(np.square(unit.T @ unit).sum()) - own) / pairs
    return mean, max(0.0, squares - mean * mean) ** 0.5


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """{"rows": one a depth and pooling, "data": sha256 of the files}. Raises UsageError, RunError, DataError."""
    import data
    from sbert.evaluation.sts import correlations
    from sbert.model import modelWithPooling

    dataset = data.load(args.data, data.split_for(args.data), data_dir=args.data_dir)
    if dataset.task != "sts":
        raise UsageError(f"--data {args.data} is {dataset.task} data: pairs with scores are taken, sts data")
    texts = list(dict.fromkeys(text for example in dataset.examples for text in example.texts))
    if len(texts) < 2:
        raise RunError(f"--data {args.data}: two different sentences are needed")
    number = {text: i for i, text in enumerate(texts)}
    first, second = ([number[example.texts[side]] for example in dataset.examples] for side in (0, 1))
    gold = [float(example.label) for example in dataset.examples]  # type: ignore[arg-type]  # a number of an STS pair
    rows = []
    for layers in args.num_layers or [None]:
        for pooling in args.pooling:
            model = modelWithPooling.from_pretrained(
                args.model, num_layers=layers, pooling_type=pooling, normalize=False
            )
            vectors = model.encode(texts)
            if not np.isfinite(vectors).all():
                raise RunError(f"--model {args.model}: some vectors are not finite")
            mean, sd = cosines_between(vectors)
            unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            spearman = correlations((unit[first] * unit[second]).sum(axis=1), gold)[1]
            encoder: Any = model.model
            depth = encoder.config.num_hidden_layers
            rows.append({"layers": depth, "pooling": pooling, "mean": mean, "sd": sd, "spearman": spearman})
    return {"set": dataset.key, "texts": len(texts), "rows": rows, "data": dataset.files}


def shown(found: dict[str, Any]) -> str:
    rows = [
        [
            str(row["layers"]),
            row["pooling"],
            *(f"{row[name]:.4f}" for name in ("mean", "sd")),
            f"{100 * row['spearman']:.2f}",
        ]
        for row in found["rows"]
    ]
    header = ["layers", "pooling", "mean cosine", "sd", "Spearman x 100"]
    return f"{table(header, rows)}\n\n{found['set']}: cosines of all pairs of {found['texts']:,} different sentences"


def run(args: argparse.Namespace, argv: Sequence[str]) -> None:
    if min(args.num_layers or [1]) < 1:
        raise UsageError(f"--num-layers {min(args.num_layers)}: must be at least 1")
    if args.output and args.output.suffix != ".json":
        raise UsageError(f"--output {args.output}: must end in .json")
    if args.output and not args.output.absolute().parent.is_dir():
        raise UsageError(f"--output {args.output}: there is no folder {args.output.parent}")
    from sbert.run import environment, set_up_logging

    set_up_logging()
    found = measure(args)
    print(shown(found))
    if args.output:
        command = ["python", "-m", "experiments.isotropy", *argv]
        write_text_atomically(
            args.output, to_json({"command": command, "environment": environment(), **found})
        )


def main(argv: Sequence[str]) -> int:
    try:
        run(build_parser().parse_args(argv), argv)
    except UsageError as error:
        print(f"isotropy: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"isotropy: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
