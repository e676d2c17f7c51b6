"""Pictures of embeddings: a map in two dimensions, a heat map of similarities, and a folder for TensorBoard's projector.

    points, share = principal_components(vectors)
    draw_map(Path("map.png"), points, texts, labels)
    write_projector(Path("runs/projector"), vectors, texts)       # tensorboard --logdir runs/projector

The map is linear (PCA): near points may be far apart in the dimensions it leaves out, and ``share`` says how much of the
variance it shows. matplotlib is no requirement: without it a picture is refused with the command that installs it.

Shape letters: N texts, D embedding width.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.files import atomic_path, write_text_atomically
from sbert.errors import RunError

INSTALL = "pip install matplotlib"
TICK = 40  # letters of a text beside a picture
NAMED = 60  # points or rows whose texts fit a picture
PLAIN = "DejaVu Sans"  # comes with matplotlib and has no Hangul
WITH_HANGUL = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo")


def principal_components(vectors: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) -> ((N, count) fp64 coordinates, (count,) share of the variance along each), the widest first.

    The sign of a component is free; it is chosen so that its largest coefficient is positive. By the (D, D) covariance:
    one fp64 copy of the vectors is all that grows with N. Raises ValueError for count outside 1..D.
    """
    if not 1 <= count <= vectors.shape[1]:
        raise ValueError(
            f"{count} components of {vectors.shape[1]} dimensions: allowed are 1 to {vectors.shape[1]}"
        )
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred)  # rising
    variances, directions = variances[::-1].clip(min=0), directions[:, ::-1][:, :count]
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(count)]
    directions = directions * np.where(largest < 0, -1, 1)
    total = variances.sum()
    return centred @ directions, variances[:count] / total if total > 0 else np.zeros(count)


def draw_map(path: Path, points: np.ndarray, texts: Sequence[str], labels: Sequence[str] | None) -> None:
    """A PNG of the first two coordinates, coloured by label; up to NAMED points carry their text.

    points: (N, 2). Raises RunError without matplotlib, and where the file cannot be written.
    """

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        groups = list(dict.fromkeys(labels)) if labels else [""]
        for group in groups:
            rows = [i for i in range(len(points)) if not labels or labels[i] == group]
            axes.scatter(points[rows, 0], points[rows, 1], s=14, alpha=0.7, linewidths=0, label=group or None)
        if len(texts) <= NAMED:
            for (x, y), text in zip(points, texts, strict=True):
                axes.annotate(_tick(text), (x, y), fontsize=5, xytext=(3, 0), textcoords="offset points")
        if labels:
            axes.legend(fontsize="small")
        axes.set(xlabel="first principal component", ylabel="second principal component")
        axes.grid(alpha=0.3)

    _save(path, draw, (8.0, 6.0))


def draw_heat_map(path: Path, similarities: np.ndarray, texts: Sequence[str]) -> None:
    """A PNG of (N, N) similarities, -1 to 1, row and column a text; up to NAMED texts are named.

    Raises RunError without matplotlib, and where the file cannot be written.
    """

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        image = axes.imshow(similarities, vmin=-1, vmax=1, cmap="coolwarm")
        if len(texts) <= NAMED:
            ticks = [_tick(text) for text in texts]
            axes.set_xticks(range(len(texts)), ticks, rotation=90, fontsize=6)
            axes.set_yticks(range(len(texts)), ticks, fontsize=6)
        figure.colorbar(image, label="cosine")

    size = 4.0 + 0.14 * min(len(texts), NAMED)
    _save(path, draw, (size + 1, size))


def check_matplotlib() -> None:
    """Raises RunError with the command that installs it where it is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise RunError(f"a picture needs matplotlib: {INSTALL}") from None


def _save(path: Path, draw: Callable[[Any], None], size: tuple[float, float]) -> None:
    """Writes the PNG, the same bytes for the same input."""
    check_matplotlib()
    from matplotlib import font_manager, rc_context
    from matplotlib.figure import Figure

    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [PLAIN, *(name for name in WITH_HANGUL if name in installed)]
    with rc_context({"font.family": fonts}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        try:
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


def _tick(text: str) -> str:
    """A text's beginning on one line. Dollar signs would be read as formulas."""
    line = " ".join(text.split())
    return (line if len(line) <= TICK else line[: TICK - 1] + "\u2026").replace("$", r"\$")


def write_projector(
    folder: Path, vectors: np.ndarray, texts: Sequence[str], labels: Sequence[str] | None = None
) -> None:
    """tensors.tsv, metadata.tsv and projector_config.pbtxt, as TensorBoard's projector reads them.

    vectors: (N, D). The first line of metadata.tsv names its columns where there are labels; without them the format
    allows no header. Raises RunError where the folder cannot be written.
    """
    rows = ("\t".join(f"{value:.7g}" for value in row) for row in vectors.tolist())
    plain = [" ".join(text.split()) for text in texts]
    if labels:
        plain = ["text\tlabel"] + [
            f"{text}\t{' '.join(label.split())}" for text, label in zip(plain, labels, strict=True)
        ]
    config = {"tensor_name": "embeddings", "tensor_path": "tensors.tsv", "metadata_path": "metadata.tsv"}
    lines = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in config.items())
    try:
        write_text_atomically(folder / "tensors.tsv", "\n".join(rows) + "\n")
        write_text_atomically(folder / "metadata.tsv", "\n".join(plain) + "\n")
        write_text_atomically(folder / "projector_config.pbtxt", f"embeddings {{\n{lines}}}\n")
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from None
