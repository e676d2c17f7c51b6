"""CoSENT: a ranking loss over all pairs of a batch whose gold scores differ.

    z_i = scale * s_i;   loss = log(1 + sum over (i, j) with y_i < y_j of exp(z_i - z_j))

The sum has up to B^2 terms, but after sorting by gold score each i meets exactly the suffix of the strictly higher
scores, so a running logsumexp from the top gives all of them in O(B log B) time and O(B) memory.
"""

import torch
from torch import Tensor


def cosent_loss(similarity: Tensor, score: Tensor, *, scale: float = 20.0) -> Tensor:
    """CoSENT loss of one batch, a scalar (not averaged). similarity, score: (B,); ties in score contribute nothing.

    Raises ValueError on a score that is NaN: it has no rank.
    """
    if bool(score.isnan().any()):
        raise ValueError("a score is nan: it has no rank among the others")
    score, order = torch.sort(score)
    z = scale * similarity.float()[order]
    # above[i] = logsumexp over j >= i of -z_j, in sorted order
    above = torch.logcumsumexp(-z.flip(0), dim=0).flip(0)
    # first position whose score is strictly higher than that of i; B where there is none
    first_higher = torch.searchsorted(score, score, right=True)
    has_higher = first_higher < len(score)
    terms = z[has_higher] + above[first_higher[has_higher]]
    return torch.logsumexp(torch.cat([z.new_zeros(1), terms]), dim=0)
