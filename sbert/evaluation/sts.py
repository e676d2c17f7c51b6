"""STS: correlation of gold scores with cosine, Euclidean, Manhattan and dot similarity (SBERT paper, section 4).

Spearman over all pairs of a set at once ("all" aggregation): for STS12-16 a year's sub-sets are concatenated by the
reader, never averaged.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

from losses.similarity import PAIRWISE


def similarity_metrics(u: np.ndarray, v: np.ndarray, scores: Sequence[float]) -> dict[str, float]:
    """u, v: (B, D); scores: (B,) -> {"spearman_cosine": ..., "pearson_cosine": ..., and so for every measure}.

    Correlations are raw, -1..1; nan where one side is constant (undefined).
    """
    out: dict[str, float] = {}
    for name, measure in PAIRWISE.items():
        ours = measure(torch.from_numpy(u), torch.from_numpy(v)).numpy()
        out[f"pearson_{name}"], out[f"spearman_{name}"] = correlations(ours, scores)
    return out


def correlations(ours: np.ndarray, scores: Sequence[float]) -> tuple[float, float]:
    """(Pearson, Spearman) of predicted and gold scores, both (B,); nan where one side is constant (undefined)."""
    gold, ours = np.asarray(scores, dtype=np.float64), ours.astype(np.float64)
    if len(gold) < 2 or np.ptp(gold) == 0 or not np.isfinite(ours).all():
        return math.nan, math.nan
    # identical pairs differ by rounding alone: ranking that noise would look like a result
    if np.ptp(ours) <= 1e-6 * max(1.0, float(np.abs(ours).max())):
        return math.nan, math.nan
    return float(pearsonr(gold, ours).statistic), float(spearmanr(gold, ours).statistic)
