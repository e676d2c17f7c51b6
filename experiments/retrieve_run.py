"""What ``python -m experiments.retrieve`` does once its flags are checked: the rows of the table, and their notes."""

import argparse
from pathlib import Path

import data
from experiments.retrieve import RUN_FILES, row_name
from experiments.retrieve_report import overlap_notes, printed_hits, printed_table, write
from experiments.retrieve_session import Session, Stages, load_set, relevant_of
from experiments.retrieve_weights import Weights
from sbert import distributed, ranks
from sbert.errors import RunError
from sbert.evaluation.retrieval import retrieval_metrics
from sbert.retrieval.approximate import recall_against
from sbert.retrieval.dense import KS, search_pool, truncated_questions
from sbert.retrieval.pipeline import Found, blend
from sbert.retrieval.trec import read_run, to_ranking

RECALL_QUESTIONS = 1000  # at most, searched exactly too where the search is approximate


def run_files(args: argparse.Namespace, dataset: data.RetrievalSet) -> dict[str, Found]:
    """What the run files hold for the questions of the set."""
    out = {}
    questions, passages = [q.id for q in dataset.questions], [p.id for p in dataset.passages]
    for path in args.retriever:
        if path.endswith(RUN_FILES):
            try:
                ranking = to_ranking(read_run(path), questions, passages)
            except RunError as error:
                raise RunError(f"--retriever {path}: {error}".replace(f"{path}: {path}", path)) from None
            if not any(ranking.ids):
                raise RunError(
                    f"--retriever {path}: none of the {len(questions):,} questions of {dataset.key}"
                )
            out[row_name(path)] = Found(ranking)
    return out


def make_folder(path: Path) -> None:
    """Before anything is computed. Raises RunError where results could not be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--output {path}: cannot be made a folder: {error.strerror or error}") from None


def note_run_files(session: Session, dataset: data.RetrievalSet, rows: dict[str, Found]) -> None:
    """How many questions a run file says nothing about: they are scored as missed."""
    for path in session.args.retriever:
        if path.endswith(RUN_FILES):
            missed = sum(not ids for ids in rows[row_name(path)].ranking.ids)
            if missed:
                session.notes.append(
                    f"{path}: no passage for {missed:,} of the {len(dataset):,} questions, counted as missed"
                )


def all_rows(session: Session, dataset: data.RetrievalSet) -> dict[str, Found]:
    """Every row of the table in order: what each retriever found, then its re-ranking and its blend."""
    args = session.args
    given = run_files(args, dataset)
    stages = session.stages(dataset, args.index and Path(args.index))
    weights = Weights(session, dataset, stages)
    note_stages(session, dataset, stages)
    note_recall(session, dataset, stages)
    found = {**session.search(dataset, stages, weights.hybrid), **given}
    note_run_files(session, dataset, given)
    first = {row_name(name): found[row_name(name)] for name in args.retriever}
    if session.cross is None:
        return first
    second = session.rerank(dataset, first)
    cut = (
        f", {second.truncated:,} of them cut to {session.cross.max_length} tokens" if second.truncated else ""
    )
    session.notes.append(
        f"re-ranked: the first {min(args.depth, args.k)} passages, {second.pairs:,} distinct pairs{cut}"
    )
    session.facts["pairs"] = {"distinct": second.pairs, "truncated": second.truncated}
    shares = weights.blends(list(first)) if args.blend is not None else {}
    rows = {}
    for name, one in first.items():
        rows[name], rows[f"{name} + rerank"] = one, second.found[name]
        if name in shares:
            rows[f"{name} + blend"] = blend(second.found[name], one, shares[name], args.depth)
    return rows


def note_stages(session: Session, dataset: data.RetrievalSet, stages: Stages) -> None:
    """What a reader of the table has to know about the searches."""
    if stages.sparse is not None:
        session.facts["analyzer"] = session.analyzer(dataset)
        session.notes.append(f"bm25 over {session.facts['analyzer']}")
    if stages.dense is None:
        return
    assert session.model is not None
    pool, model = stages.dense.pool, session.model
    cut = truncated_questions(model, [question.text for question in dataset.questions])
    session.facts["windows"], session.facts["truncated_questions"] = len(pool.windows), cut
    parts = f"{len(pool.windows):,} windows" if session.args.long == "windows" else "cut-off passages"
    session.notes.append(
        f"dense: {session.args.model}, {pool.similarity}, {pool.embeddings.shape[1]} dimensions, {parts} of at most "
        f"{model.max_length} tokens; {cut:,} questions truncated"
    )


def note_recall(session: Session, dataset: data.RetrievalSet, stages: Stages) -> None:
    """How many of the passages that exact search finds the approximate one finds as well."""
    if session.args.search == "exact" or stages.dense is None:
        return
    texts = [question.text for question in dataset.questions[:RECALL_QUESTIONS]]
    queries, k = stages.dense.encode(texts), session.args.k
    exact, _ = search_pool(queries, stages.dense.pool, k)
    found, _ = search_pool(queries, stages.dense.pool, k, window_search=stages.dense.window_search)
    recalls = {f"recall@{depth}": recall_against(exact, found, depth) for depth in sorted({min(10, k), k})}
    session.facts.setdefault("approximate", {}).update(recalls)
    shown = ", ".join(f"{name} {100 * value:.2f}" for name, value in recalls.items())
    session.notes.append(
        f"--search {session.args.search} against exact search, {len(texts):,} questions: {shown}"
    )


def metrics_of(rows: dict[str, Found], dataset: data.RetrievalSet) -> dict[str, dict[str, float]]:
    relevant = relevant_of(dataset)
    return {name: retrieval_metrics(found.ranking.ids, relevant, KS) for name, found in rows.items()}


def run(args: argparse.Namespace) -> str:
    """Everything; returns what is printed."""
    if args.output is not None:
        make_folder(Path(args.output))
    dataset = load_set(args)
    session = Session.start(args)
    rows = all_rows(session, dataset)
    distributed.stop()
    if args.query is not None:
        return printed_hits(session, dataset, rows)
    session.notes += overlap_notes(session, dataset)
    metrics = metrics_of(rows, dataset)
    if ranks.is_first():
        write(session, dataset, rows, metrics)
    return printed_table(session, dataset, rows, metrics)
