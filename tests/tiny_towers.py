"""Two towers of a few thousand parameters, trained apart as far as tests care."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from tiny_models import WIDTH, tiny_model

from heads.embedding import Dense, Normalize
from sbert.model import modelWithPooling
from sbert.towers import TwoTowers

PROMPTS = {"query": "a man is", "document": "the child"}


def shift(tower: modelWithPooling, seed: int = 5) -> None:
    """Moves every weight of a tower a little, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def write_towers(start_dir: Path, folder: Path) -> Path:
    """A directory of ours: prompts, Dense and Normalize, at most 20 tokens; only the query tower was trained."""
    torch.manual_seed(0)
    layers = [Dense(WIDTH, 12), Normalize()]
    start = tiny_model(start_dir, layers=layers, prompts=PROMPTS, default_prompt="query", max_length=20)
    towers = TwoTowers(start, copy.deepcopy(start))
    shift(towers.query)
    towers.facts = {"source": "tiny", "num_layers": None, "trained_on": ["squad-train"]}
    towers.save_pretrained(folder)
    return folder
