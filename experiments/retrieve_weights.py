"""The weights of hybrid and blends: as given, or chosen on the dev split."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import data
from experiments.retrieve_session import Session, Stages, relevant_of, sampled
from sbert.retrieval.fusion import best_weight
from sbert.retrieval.pipeline import search_all

BLEND_QUESTIONS = 500  # of dev at most: a re-ranker reads depth passages for each


def load_dev(args: argparse.Namespace, dataset: data.RetrievalSet) -> tuple[data.RetrievalSet | None, str]:
    """The dev split that weights are chosen on, or None and why there is none."""
    if args.query is not None:
        return None, "--query has no known answers to choose it on"
    if dataset.split == "dev":
        return None, f"{dataset.key} is itself scored, so nothing is chosen on it"
    name = dataset.name if dataset.name in data.retrieval_names() else args.data
    if name in data.retrieval_names():
        from data.sets_retrieval import RETRIEVAL_SETS

        if "dev" not in RETRIEVAL_SETS[name].splits:
            return None, f"{name} has no dev split to choose it on"
        return data.load_retrieval(name, "dev", data_dir=args.data_dir), ""
    try:
        return data.load_retrieval(name, "dev", data_dir=args.data_dir), ""
    except data.DataError as error:
        if "no qrels/dev.tsv" in str(error) or "has no split" in str(error):
            return None, f"{dataset.name} has no dev split to choose it on"
        raise


class Weights:
    """The weights of hybrid and blends: as given, or chosen on dev by MRR@10, else 0.5; all of it in the notes."""

    def __init__(self, session: Session, dataset: data.RetrievalSet, stages: Stages) -> None:
        self.session, self.args = session, session.args
        wanted = {"hybrid": self.args.weight if "hybrid" in session.names else None, "blend": self.args.blend}
        self.dev, why = None, ""
        if "auto" in wanted.values():
            self.dev, why = load_dev(self.args, dataset)
        self.stages = stages
        if self.dev is not None and self.dev.passages != stages.passages:
            index = self.args.index and Path(f"{self.args.index}-dev")
            self.stages = session.stages(self.dev, index)
        if self.dev is None:
            names = " and ".join(name for name, value in wanted.items() if value == "auto")
            session.notes += [f"weight of {names} 0.5: {why}"] if names else []
        self.hybrid = self._hybrid() if wanted["hybrid"] is not None else 0.5

    def _hybrid(self) -> float:
        if self.args.weight != "auto":
            return float(self.args.weight)
        if self.dev is None:
            return 0.5
        parts = search_all(
            ["dense", "bm25"],
            [question.text for question in self.dev.questions],
            self.args.k,
            sparse=self.stages.sparse,
            dense=self.stages.dense,
        )
        weight, curve = best_weight(parts["dense"].ranking, parts["bm25"].ranking, relevant_of(self.dev))
        self._note("hybrid", "dense", weight, curve, len(self.dev))
        return weight

    def blends(self, names: Sequence[str]) -> dict[str, float]:
        """The re-ranker's weight against each first stage that searches here."""
        if self.args.blend != "auto":
            return dict.fromkeys(names, float(self.args.blend))
        if self.dev is None:
            return dict.fromkeys(names, 0.5)
        dev, depth = sampled(self.dev, BLEND_QUESTIONS), self.args.depth
        first = self.session.search(dev, self.stages, self.hybrid)
        second = self.session.rerank(dev, first).found
        relevant, out = relevant_of(dev), {}
        for name in names:
            if name not in first:
                out[name] = 0.5
                self.session.notes.append(f"weight of {name} + blend 0.5: a run file has nothing for dev")
                continue
            both = second[name].ranking, first[name].ranking
            out[name], curve = best_weight(*both, relevant, depth=depth)
            self._note(f"{name} + blend", "the re-ranker", out[name], curve, len(dev))
        return out

    def _note(self, name: str, of: str, weight: float, curve: dict[float, float], count: int) -> None:
        assert self.dev is not None
        self.session.facts.setdefault("weights", {})[name] = {"weight": weight, "dev_mrr@10": curve}
        self.session.notes.append(
            f"weight of {of} in {name}: {weight:g}, chosen on {count:,} questions of {self.dev.key} "
            f"(MRR@10 there {100 * curve[weight]:.2f}; at 0 {100 * curve[0.0]:.2f}, at 1 {100 * curve[1.0]:.2f})"
        )
