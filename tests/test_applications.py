"""Applications by hand: small vectors whose answers can be seen, ties, duplicates, edges, and what is refused."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from sbert.applications import clustering, maps
from sbert.applications.agreement import average_precision, v_measure
from sbert.applications.clustering import agglomerative, k_means
from sbert.applications.communities import community_detection
from sbert.applications.keywords import candidate_phrases, distinctive_phrases
from sbert.applications.maps import principal_components, write_projector
from sbert.applications.parallel import mine_parallel, parallel_metrics
from sbert.applications.paraphrases import Pairs, paraphrase_mining
from sbert.applications.recommendation import recommend
from sbert.applications.search import hits, semantic_search


def at(*degrees: float) -> np.ndarray:
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def tuples(pairs: Pairs) -> list[tuple[int, int]]:
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


# ---------------------------------------------------------------- search, paraphrases


def test_one_query_without_a_second_dimension() -> None:
    found = hits(semantic_search(at(0)[0], at(90, 10, 40), top_k=2))
    assert found == [
        [
            {"corpus_id": 1, "score": pytest.approx(cos(10))},
            {"corpus_id": 2, "score": pytest.approx(cos(40))},
        ]
    ]


def test_pairs_by_hand() -> None:
    found = paraphrase_mining(at(0, 50, 10, 52))
    assert tuples(found) == [(1, 3), (0, 2), (1, 2), (2, 3), (0, 1), (0, 3)]
    assert found.scores.tolist() == pytest.approx([cos(x) for x in (2, 10, 40, 42, 50, 52)])
    assert found.scores.dtype == np.float32


def test_a_pair_needs_one_proposal_only() -> None:
    """Of 40: the nearest is 10, whose own nearest is 0. One neighbour each: (0, 1) twice, (1, 2) once."""
    assert tuples(paraphrase_mining(at(0, 10, 40), top_k=1)) == [(0, 1), (1, 2)]


def test_the_bound_keeps_the_best_and_of_equal_ones_the_earlier() -> None:
    corners = np.array(
        [[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=np.float32
    )  # four pairs of cosine 0, two of -1
    for chunk in (1, 3, 4):
        assert tuples(paraphrase_mining(corners, max_pairs=3, query_chunk=chunk)) == [(0, 1), (0, 3), (1, 2)]
    every = list(itertools.combinations(range(40), 2))  # all of cosine 0
    assert tuples(paraphrase_mining(np.eye(40, dtype=np.float32), max_pairs=90, query_chunk=7)) == every[:90]


def test_copies_propose_top_k_others_each_even_where_they_miss_themselves() -> None:
    """Of seven copies with one neighbour each, text 0 proposes (0, 1) and every other one itself with 0."""
    found = paraphrase_mining(np.ones((7, 3), np.float32), top_k=1, query_chunk=2)
    assert tuples(found) == [(0, i) for i in range(1, 7)] and found.scores.tolist() == [1.0] * 6


def test_mining_in_chunks_is_brute_force() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    every = sorted(itertools.combinations(range(40), 2), key=lambda pair: -unit[pair[0]] @ unit[pair[1]])
    for chunk in (3, 64):
        assert tuples(paraphrase_mining(vectors, top_k=40, max_pairs=100, query_chunk=chunk)) == every[:100]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_texts_for_a_pair(count: int) -> None:
    assert tuples(paraphrase_mining(np.ones((count, 3), np.float32))) == []


@pytest.mark.parametrize("name", ["top_k", "max_pairs", "query_chunk"])
def test_mining_refuses_a_zero(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        paraphrase_mining(at(0, 1), **{name: 0})


# ---------------------------------------------------------------- parallel sentences


def test_margin_by_hand() -> None:
    """k = 2, all of both sides: source means (cos 5 + cos 60) / 2 and (cos 65 + cos 10) / 2, and so on."""
    found = mine_parallel(at(0, 70), at(5, 60), k=2)
    means = [(cos(5) + cos(60)) / 2, (cos(65) + cos(10)) / 2]
    back = [(cos(5) + cos(65)) / 2, (cos(60) + cos(10)) / 2]
    scores = [cos(5) / ((means[0] + back[0]) / 2), cos(10) / ((means[1] + back[1]) / 2)]
    assert sorted(zip(tuples(found), found.scores.tolist(), strict=True)) == [
        ((0, 0), pytest.approx(scores[0])),
        ((1, 1), pytest.approx(scores[1])),
    ]


def test_the_margin_beats_a_hub_that_cosine_falls_for() -> None:
    """Target 1 is near everything; cosine gives it to source 0 (cos .9 against .85), the ratio gives target 0."""
    source = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float32)
    target = np.array([[0.5, 0.0, 0.0, 0.0], [0.55, 0.5, 0.47, 0.47]], dtype=np.float32)
    target[0, 1] = 0.5 * math.sqrt(1 / 0.54**2 - 1)  # cos .54 with source 0, .84 with source 1
    assert (source @ (target / np.linalg.norm(target, axis=1, keepdims=True)).T)[0].argmax() == 1
    found = mine_parallel(source, target, k=4, threshold=0)
    brute = {(i, j): _ratio(source, target, i, j) for i in range(len(source)) for j in range(len(target))}
    best, *_ = sorted(brute, key=lambda pair: -brute[pair])
    assert tuples(found)[0] == best and found.scores[0] == pytest.approx(brute[best])


def _ratio(source: np.ndarray, target: np.ndarray, i: int, j: int) -> float:
    """Cosine over the mean of both sides' means, all texts of the other side being neighbours."""
    unit = [x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (source, target)]
    cosines = unit[0] @ unit[1].T
    return cosines[i, j] / ((cosines[i].mean() + cosines[:, j].mean()) / 2)


def test_one_to_one_and_the_threshold() -> None:
    source, target = at(0, 2, 60), at(1, 59)
    found = mine_parallel(source, target, k=2, threshold=0)
    assert len(set(found.first.tolist())) == len(set(found.second.tolist())) == len(found.first) == 2
    assert (np.diff(found.scores) <= 0).all()
    assert tuples(mine_parallel(source, target, k=2, threshold=float(found.scores[0]))) == tuples(found)[:1]
    assert tuples(mine_parallel(source, target, k=2, threshold=9)) == []


def test_a_mean_that_is_not_positive_has_no_ratio() -> None:
    """cos -1 over a mean of -1 would be a perfect 1."""
    assert tuples(mine_parallel(at(0), at(180), threshold=0)) == []


def test_an_empty_side() -> None:
    assert tuples(mine_parallel(at(0), np.empty((0, 2), np.float32))) == []


def test_f1_by_hand() -> None:
    """Right, right, wrong, right of 5 gold: F1 at each length 2/6, 4/7, 4/8, 6/9."""
    found = Pairs(np.array([0, 1, 2, 3]), np.array([0, 1, 9, 3]), np.array([1.5, 1.4, 1.3, 1.2]))
    gold = {(i, i) for i in range(5)}
    assert parallel_metrics(found, gold) == pytest.approx(
        {"precision": 0.75, "recall": 0.6, "f1": 6 / 9, "best_f1": 6 / 9, "best_threshold": 1.2}
    )
    shorter = parallel_metrics(Pairs(*(column[:3] for column in found)), gold)
    assert shorter["f1"] == pytest.approx(0.5) and shorter["best_f1"] == pytest.approx(4 / 7)
    assert shorter["best_threshold"] == pytest.approx(1.35)
    nothing = parallel_metrics(Pairs(*(column[:0] for column in found)), gold)
    assert set(nothing.values()) == {0.0}


# ---------------------------------------------------------------- communities, clusters


def test_communities_by_hand() -> None:
    """Within 5 degrees: 100 and 101 see four each, the earlier is the centre; 4 sees 0 and 8; 16 is alone."""
    degrees = [0, 4, 8, 16, 98, 100, 101, 104]
    found = community_detection(at(*degrees), threshold=cos(5), min_size=2)
    assert [[degrees[i] for i in members] for members in found] == [[100, 101, 98, 104], [4, 0, 8]]
    assert community_detection(at(*degrees), threshold=cos(5), min_size=4) == found[:1]


def test_a_centre_that_is_taken_makes_no_community() -> None:
    """0 and 12 are both within 7 of 6 and not of one another; 18 is near 12 alone, whose turn is over."""
    found = community_detection(at(0, 6, 12, 18), threshold=cos(7), min_size=2)
    assert found == [[1, 0, 2]]


def test_communities_of_all_alike_need_little_memory_and_edges() -> None:
    assert community_detection(np.ones((3000, 4), np.float32), min_size=2) == [list(range(3000))]
    assert community_detection(np.empty((0, 4), np.float32)) == []
    assert community_detection(at(0), min_size=1) == [[0]]
    for name in ("min_size", "chunk"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            community_detection(at(0), **{name: 0})


def test_k_means_finds_three_heaps_and_repeats_itself() -> None:
    heaps = np.concatenate([at(0, 2, 4), at(120, 122, 124), at(240, 242, 244)])
    found = k_means(heaps, 3, seed=5)
    assert [len(set(found.labels[i : i + 3].tolist())) for i in (0, 3, 6)] == [1, 1, 1]
    assert len(set(found.labels.tolist())) == 3
    assert found.centres[found.labels[0]] == pytest.approx(heaps[:3].mean(axis=0), abs=1e-6)
    expected = sum(((heaps[i : i + 3] - heaps[i : i + 3].mean(axis=0)) ** 2).sum() for i in (0, 3, 6))
    assert found.inertia == pytest.approx(expected, rel=1e-5)
    assert (k_means(heaps, 3, seed=5).labels == found.labels).all()


def test_restarts_keep_the_best_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).normal(size=(60, 3))
    one = [k_means(vectors, 6, seed=s, restarts=1).inertia for s in range(6)]
    assert len(set(one)) > 1  # starts do differ
    assert k_means(vectors, 6, seed=0, restarts=8).inertia <= one[0]
    whole = k_means(vectors, 6, seed=0)
    monkeypatch.setattr(clustering, "CHUNK", 7)
    assert (k_means(vectors, 6, seed=0).labels == whole.labels).all()


def test_a_cluster_that_runs_empty_gets_the_text_served_worst() -> None:
    """Both texts at 0 go to the first of two equal centres; the second takes the text that is farthest from its own."""
    points = np.array([[0.0], [0.0], [1.0], [5.0]])
    found = k_means(points, 2, start=np.array([[0.0], [100.0]]))
    assert found.labels.tolist() == [0, 0, 0, 1] and found.inertia == pytest.approx(2 / 3)


def test_a_text_alone_in_its_cluster_is_not_taken_from_it() -> None:
    """60 is farthest from its centre, but alone there: the empty third cluster takes 1."""
    points, start = np.array([[0.0], [1.0], [60.0]]), np.array([[0.0], [100.0], [1000.0]])
    found = k_means(points, 3, start=start, iterations=1)
    assert found.labels.tolist() == [0, 2, 1] and found.inertia == 0


def test_centres_are_drawn_by_their_distance_to_those_before() -> None:
    """A text that lies on a centre has no chance: of three places, however crowded, each gets one of three centres."""
    places = np.repeat([[0.0], [1.0], [5.0]], (1, 2, 40), axis=0)
    for seed in range(8):
        drawn = clustering._spread_out(places, 3, np.random.default_rng(seed))
        assert sorted(drawn[:, 0].tolist()) == [0, 1, 5]


def test_more_clusters_than_different_texts() -> None:
    found = k_means(np.ones((4, 2)), 3)
    assert found.inertia == 0 and found.labels.max() < 3


@pytest.mark.parametrize("count", [0, 5])
def test_clusters_out_of_range(count: int) -> None:
    for function in (k_means, agglomerative):
        with pytest.raises(ValueError, match="allowed are 1 to 4"):
            function(at(0, 1, 2, 3), count)


def test_agglomerative_by_hand_and_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.array([[5.0], [0.0], [5.5], [0.2], [9.0]])
    assert agglomerative(points, threshold=1.0, linkage="single").tolist() == [0, 1, 0, 1, 2]
    assert agglomerative(points, 2, linkage="single").tolist() == [0, 1, 0, 1, 0]
    assert agglomerative(points[:1], 1).tolist() == [0]
    for options in ({}, {"clusters": 2, "threshold": 1.0}):
        with pytest.raises(ValueError, match="one of the two"):
            agglomerative(points, **options)
    with pytest.raises(ValueError, match="'centroid': allowed are ward"):
        agglomerative(points, 2, linkage="centroid")
    monkeypatch.setattr(clustering, "MOST", 4)
    with pytest.raises(ValueError, match="at most 4"):
        agglomerative(points, 2)


def test_v_measure_by_hand() -> None:
    """Two classes of two, one cluster splits off one of b: H(c|k) = 3/4 ln-entropy of (2/3, 1/3)."""
    found = v_measure("aabb", [0, 0, 0, 1])
    given_cluster = -0.75 * (2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    of_cluster = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    given_class = 0.5 * math.log(2)
    h, c = 1 - given_cluster / math.log(2), 1 - given_class / of_cluster
    assert found == pytest.approx({"homogeneity": h, "completeness": c, "v_measure": 2 * h * c / (h + c)})
    assert v_measure("aab", [7, 7, 3])["v_measure"] == pytest.approx(1)
    assert v_measure("ab", [0, 0]) == {"homogeneity": 0.0, "completeness": 1.0, "v_measure": 0.0}
    assert v_measure("", [])["v_measure"] == 1.0
    with pytest.raises(ValueError, match="2 classes and 1 clusters"):
        v_measure("ab", [0])


def test_average_precision_by_hand() -> None:
    pairs = [(0, 1), (0, 2), (1, 2)]
    found = average_precision(pairs, {(0, 1), (1, 2), (5, 6)})
    assert found == pytest.approx({"average_precision": (1 + 2 / 3) / 3, "recall": 2 / 3})
    with pytest.raises(ValueError, match="no gold pairs"):
        average_precision(pairs, set())


# ---------------------------------------------------------------- maps


def test_the_widest_direction_comes_first() -> None:
    points, share = principal_components(np.array([[0.0, 3, 0], [0, -3, 0], [1, 0, 0], [-1, 0, 0]]))
    assert points == pytest.approx(np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]]))
    assert share == pytest.approx([0.9, 0.1])
    assert principal_components(np.ones((3, 2)))[1].tolist() == [0, 0]
    with pytest.raises(ValueError, match="allowed are 1 to 2"):
        principal_components(np.ones((3, 2)), 3)


def test_the_largest_coefficient_of_a_component_is_positive() -> None:
    for seed in range(6):
        vectors = np.random.default_rng(seed).normal(size=(20, 4))
        centred = vectors - vectors.mean(axis=0)
        directions = np.linalg.pinv(centred) @ principal_components(vectors, 3)[0]  # (4, 3)
        assert (directions[np.abs(directions).argmax(axis=0), range(3)] > 0).all()


def test_the_projector_reads_what_was_written(tmp_path: Path) -> None:
    config = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
    from google.protobuf import text_format

    texts = ["one\ttab", "둘\n줄"]
    write_projector(tmp_path / "p", at(0, 90), texts, ["a", "b"])
    parsed = text_format.Parse(
        (tmp_path / "p" / "projector_config.pbtxt").read_text(), config.ProjectorConfig()
    )
    (embedding,) = parsed.embeddings
    rows = (tmp_path / "p" / embedding.tensor_path).read_text().splitlines()
    assert np.loadtxt(rows) == pytest.approx(at(0, 90), abs=1e-6)
    said = (tmp_path / "p" / embedding.metadata_path).read_text(encoding="utf8").splitlines()
    assert said == ["text\tlabel", "one tab\ta", "둘 줄\tb"]
    write_projector(tmp_path / "q", at(0, 90), texts)
    assert (tmp_path / "q" / "metadata.tsv").read_text(encoding="utf8") == "one tab\n둘 줄\n"


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    texts = ["costs $5 and $6", "a" * 100]
    for labels in (None, ["x", "y"]):
        maps.draw_map(tmp_path / "map.png", at(0, 90), texts, labels)
    maps.draw_heat_map(tmp_path / "heat.png", np.eye(2), texts)
    for name in ("map.png", "heat.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- keywords, recommendation


def test_phrases_by_hand() -> None:
    text = "The honey bee, a honey BEE of 1862, isn't well-known - see 'worker bee' and 3 bees."
    assert candidate_phrases(text, 1) == ["honey", "bee", "isn't", "well-known", "see", "worker", "bees"]
    two = candidate_phrases(text, 2)
    assert {"honey bee", "isn't well-known", "worker bee", "3 bees"} <= set(two)
    assert not {"BEE 1862", "bee a", "1862", "well-known see", "see worker", "bee and"} & set(two)
    assert "BEE of 1862" in candidate_phrases(text, 3)  # a stop word inside is allowed
    assert candidate_phrases("유네스코 '제주 화산섬과 용암동굴'이 올랐다.", 2) == [
        "유네스코",
        "제주",
        "제주 화산섬과",
        "화산섬과",
        "화산섬과 용암동굴",
        "용암동굴",
        "올랐다",
    ]
    assert candidate_phrases("of the 7.") == []
    with pytest.raises(ValueError, match="phrases of 0 words"):
        candidate_phrases(text, 0)


def test_diversity_by_hand() -> None:
    """0 and 1 lie together; at diversity 0.5 the third is worth .5 cos 40 - .5 cos 70 > .5 cos 31 - .5 cos 1."""
    text, phrases = at(0)[0], at(30, 31, -40)
    assert [i for i, _ in distinctive_phrases(text, phrases, 2)] == [0, 1]
    found = distinctive_phrases(text, phrases, 2, diversity=0.5)
    assert found == [(0, pytest.approx(cos(30))), (2, pytest.approx(cos(40)))]
    assert [i for i, _ in distinctive_phrases(text, phrases, 9, diversity=1)] == [0, 2, 1]
    assert distinctive_phrases(text, phrases[:0], 3) == []
    for wrong in ({"diversity": 1.5}, {"diversity": math.nan}, {"top_k": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            distinctive_phrases(text, phrases, **wrong)


def test_the_redundancy_is_that_of_the_nearest_chosen() -> None:
    """After 0 and 2, the fourth is near the first alone: what was chosen first still counts."""
    text, phrases = at(0)[0], at(20, -60, 70, 15)
    assert [i for i, _ in distinctive_phrases(text, phrases, 3, diversity=0.8)][:2] == [3, 1]
    order = [i for i, _ in distinctive_phrases(text, phrases, 4, diversity=0.8)]
    assert order == [3, 1, 2, 0]


def test_recommendation_by_hand() -> None:
    items = 3 * at(0, 10, 90, 45, 180)  # lengths mean nothing
    assert [i for i, _ in recommend(items, wish=at(40)[0], top_k=2)] == [3, 1]
    assert [i for i, _ in recommend(items, liked=[0, 2], top_k=2)] == [3, 1]  # half-way lies 45
    assert [i for i, _ in recommend(items, liked=[1], top_k=2)] == [
        0,
        3,
    ]  # itself, the nearest, takes no place
    found = recommend(items, wish=at(90)[0] * 7, liked=[0])
    assert found == [
        (3, pytest.approx(cos(0))),
        (1, pytest.approx(cos(35))),
        (2, pytest.approx(cos(45))),
        (4, pytest.approx(cos(135))),
    ]


def test_recommendation_refuses() -> None:
    with pytest.raises(ValueError, match="nothing to go by"):
        recommend(at(0, 1))
    with pytest.raises(ValueError, match="liked item 2"):
        recommend(at(0, 1), liked=[2])
