"""Draw a metric over training: one line a run, from metrics.json or a record, as a PNG.

python -m experiments.curve --metric stsb-dev/spearman_cosine --output curve.png runs/a runs/b
python -m experiments.curve --stage 0 --output nli.png experiments/results/nli-then-stsb-4-layers-seed1.json
"""

import argparse
import sys
from pathlib import Path

from sbert.errors import RunError
from sbert.jsonfile import read_json


def points(path: Path, metric: str, stage: int | None) -> list[tuple[int, float]]:
    """(update, value) of every evaluation of a run directory or record. Raises RunError when there is none."""
    found = read_json(path / "metrics.json" if path.is_dir() else path)
    stages = found.get("stages") or found.get("metrics", {}).get("stages") or []
    out = [
        (evaluation["update"], evaluation[metric])
        for s in stages
        if stage in (None, s["stage"])
        for evaluation in s["evaluations"]
        if evaluation.get(metric) is not None
    ]
    if not out:
        raise RunError(f"{path}: no evaluation of {metric}" + ("" if stage is None else f" in stage {stage}"))
    return out


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.curve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run directories, or records under experiments/results/"
    )
    parser.add_argument("--metric", default="stsb-dev/spearman_cosine")
    parser.add_argument("--stage", type=int, help="only this stage of --mix sequence, counted from 0")
    parser.add_argument("--output", type=Path, default=Path("curve.png"))
    args = parser.parse_args(argv)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("curve: error: this picture needs matplotlib: pip install matplotlib", file=sys.stderr)
        return 1
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="update", ylabel=args.metric)
    try:
        for run in args.runs:
            axes.plot(*zip(*points(run, args.metric, args.stage), strict=True), marker=".", label=run.stem)
    except RunError as error:
        print(f"curve: error: {error}", file=sys.stderr)
        return 1
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(args.output, dpi=120)
    print(args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
