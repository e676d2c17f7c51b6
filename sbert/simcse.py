"""Unsupervised SimCSE (Gao et al. 2021, arXiv 2104.08821): a model adapted to a domain by texts alone.

    python train.py --objective simcse --train-data nfcorpus --batch-size 64 --lr 1e-5
    python train.py --objective simcse --train-data sentences.txt --dev-data stsb --select-on stsb-dev/spearman_cosine

A text is encoded twice, under two draws of dropout, and has to find itself among the other texts of the batch: in-batch
ranking (sbert/dense_objectives.py) in which a text is its own passage. What a set is without its labels says data/texts.py.
The paper's temperature of .05 is a scale of 20. Its further layer on the vector, which is thrown away after training, is
left out: what is trained here is what is used.
"""

import torch

from sbert.dense_objectives import DenseRanking
from sbert.dense_source import DenseSource
from sbert.errors import RunError


class SimCSE(DenseRanking):
    """In-batch ranking of texts among themselves. Both columns hold the texts of the batch, in one order, and are encoded
    apart (DenseObjective.plan), never one copied from the other: each pass has dropout of its own."""

    tasks = ("text",)


def check_passes_differ(source: DenseSource, model: str) -> None:
    """Raises RunError where there is nothing to learn: a set of one text, or an encoder without dropout, whose two passes
    are the same. model: what --model said."""
    if len(source.lengths) < 2:
        raise RunError(f"{source.name}: one distinct text; --objective simcse tells a text from others")
    encoder = source.objective.model
    device, training = encoder.device, encoder.training
    batch = source.batch([0], device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        first, second = source.objective.train().embed(batch.features)
        source.objective.train(training)
    if torch.equal(first, second):
        raise RunError(
            f"--model {model}: two passes of one text give one vector, and --objective simcse learns from their difference: "
            "the encoder has no dropout (set hidden_dropout_prob, or what its config.json calls it, to .1)"
        )
