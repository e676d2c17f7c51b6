"""Table 7: sentences a second, with and without smart batching (section 7)."""

from experiments.rows.row import Column, Row, Table, module

TITLE = "sentences/s"
COLUMNS = (Column(TITLE, "sentences_per_second", "sentences/s", scale=1.0, tolerance=0.2, relative=True),)
QUOTED = {
    "glove-cpu": ("Avg. GloVe embeddings, CPU", 6469.0),
    "infersent-cpu": ("InferSent, CPU", 137.0),
    "infersent-gpu": ("InferSent, GPU", 1876.0),
    "use-cpu": ("Universal Sentence Encoder, CPU", 67.0),
    "use-gpu": ("Universal Sentence Encoder, GPU", 1318.0),
}
SBERT = {"cpu": (44.0, 83.0), "cuda": (1378.0, 2042.0)}  # without and with smart batching


def _paper(device: str, smart: bool) -> Row:
    shown = {"cpu": "CPU", "cuda": "GPU"}[device]
    return Row(
        id=f"sbert-base-{'smart-' if smart else ''}{shown.lower()}",
        name=f"SBERT-base, {'smart batching, ' if smart else ''}{shown}",
        edition="paper",
        steps=(
            module(
                "throughput",
                f"--model bert-base-uncased --device {device}{'' if smart else ' --no-smart-batching'}",
            ),
        ),
        paper={TITLE: SBERT[device][smart]},
        place="Table 7",
    )


ROWS = (
    *(
        Row(name, title, "quoted", paper={TITLE: value}, place="Table 7")
        for name, (title, value) in QUOTED.items()
    ),
    *(_paper(device, smart) for device in SBERT for smart in (False, True)),
    Row(
        id="minilm-cpu",
        name="MiniLM, whole, CPU, one thread",
        edition="offline",
        steps=(module("throughput", "--model minilm --device cpu --threads 1 --no-smart-batching"),),
        paper={TITLE: 44.0},
        place="stands in for SBERT-base",
    ),
    Row(
        id="minilm-smart-cpu",
        name="MiniLM, whole, smart batching, CPU, one thread",
        edition="offline",
        steps=(module("throughput", "--model minilm --device cpu --threads 1"),),
        paper={TITLE: 83.0},
        place="stands in for SBERT-base, smart batching",
    ),
)

TABLE = Table(
    id="table7",
    title="Table 7: speed",
    columns=COLUMNS,
    rows=ROWS,
    note="The paper measured on an i7-5820K and a V100; speeds of other processors and encoders say nothing about each "
    "other, so only the gain from smart batching compares (89 per cent on its CPU, 48 on its GPU). A repetition counts as "
    "near within a fifth.",
)
