"""A tiny encoder and a made-up training set, for the tests of the loop."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from sbert.loop import Settings
from sbert.model import modelWithPooling
from sbert.objectives import modelForClassificationTraining, modelForRegressionTraining
from sbert.source import Source

SETTINGS = Settings(batch_size=4, epochs=2, lr=1e-3, head_lr=1e-2, log_steps=1000, sampler="random", seed=3)


class Encoder(modelWithPooling):
    """A tiny random BERT that 'saves' by noting the update it was saved at."""

    def __init__(self, dropout: float = 0.1) -> None:
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        super().__init__(BertModel(config, add_pooling_layer=False))
        self.saved: list[Path] = []

    def save_pretrained(self, directory: str | Path) -> None:
        self.saved.append(Path(directory))


def source(encoder: Encoder, rows: int = 22, kind: str = "regression") -> Source:
    generator = torch.Generator().manual_seed(5)
    texts = [
        [
            torch.randint(3, 50, (int(n),), generator=generator).tolist()
            for n in torch.randint(2, 9, (rows,), generator=generator)
        ]
        for _ in range(2)
    ]
    torch.manual_seed(1)
    if kind == "regression":
        objective, labels = modelForRegressionTraining(encoder), torch.rand(rows, generator=generator)
    else:
        objective, labels = (
            modelForClassificationTraining(encoder),
            torch.randint(0, 3, (rows,), generator=generator),
        )
    lengths = [max(len(a), len(b)) for a, b in zip(*texts, strict=True)]
    return Source("made-up", objective, texts, labels, lengths, 0.0, 0, "right")
