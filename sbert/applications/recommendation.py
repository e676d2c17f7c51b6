"""Recommendation by content: items with a description, ranked by what somebody asks for, or by what they liked.

    recommend(items, wish=model.encode("a sea voyage told by a boy"))   # items: the vectors of their descriptions
    recommend(items, liked=[3, 17])                                     # more like these two

The profile is the mean of the unit vectors of the wish and of every liked item (Rocchio's, without the negative part),
and items are ranked by their cosine with it; what was liked already is not recommended again.

Shape letters: N items, D embedding width.
"""

from collections.abc import Collection

import numpy as np

from sbert.retrieval.search import SHORTEST, exact_search


def recommend(
    items: np.ndarray, wish: np.ndarray | None = None, liked: Collection[int] = (), top_k: int = 10
) -> list[tuple[int, float]]:
    """items (N, D), wish (D,) -> at most top_k (position, cosine with the profile), best first, equal ones by position.

    Raises ValueError where there is neither a wish nor a liked item, and for a position that there is not.
    """
    wrong = [i for i in liked if not 0 <= i < len(items)]
    if wrong:
        raise ValueError(f"liked item {wrong[0]}: there are {len(items)} items, from 0")
    asked = [items[i] for i in liked] + ([] if wish is None else [wish])
    if not asked:
        raise ValueError("nothing to go by: a wish, or at least one liked item, is needed")
    vectors = np.array(asked, dtype=np.float64)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SHORTEST)
    ranking = exact_search(unit.mean(axis=0, keepdims=True), items, top_k + len(set(liked)))
    found = zip(ranking.ids[0], ranking.scores[0].tolist(), strict=True)
    return [(i, score) for i, score in found if i not in liked][:top_k]
