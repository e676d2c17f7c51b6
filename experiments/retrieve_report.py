"""What ``python -m experiments.retrieve`` prints and writes: the table, passages with scores, JSON, TREC run files."""

import importlib.metadata
import re
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data
from data.files import sha256_of, write_text_atomically
from experiments.record import RESULTS
from experiments.retrieve import RUN_FILES
from sbert.errors import RunError
from sbert.jsonfile import to_json
from sbert.report import percent, table
from sbert.retrieval.dense import KS
from sbert.retrieval.pipeline import STAGES, Found
from sbert.retrieval.trec import write_run
from sbert.run import environment

if TYPE_CHECKING:
    from experiments.retrieve_run import Session

Metrics = dict[str, dict[str, float]]
OF_THIS_MACHINE = ("data_dir", "output", "index", "record", "threads")  # flags that no record holds
SHOWN = 600  # letters printed of a passage
WIDTH = 100  # columns of printed text


def overlap_notes(session: "Session", dataset: data.RetrievalSet) -> list[str]:
    """What the models have seen of the set in training."""
    notes: list[str] = []
    if dataset.name not in data.retrieval_names():
        return notes
    for flag, name, model in (
        ("--model", session.args.model, session.model),
        ("--rerank", session.args.rerank, session.cross),
    ):
        if model is None:
            continue
        trained = list(model.facts.get("trained_on", []))
        trained += ["minilm"] * (model.facts.get("source") == "minilm")
        known = [x for x in trained if x == "minilm" or _stem(x) in data.retrieval_names()]
        shared = data.retrieval_overlap(known, dataset.key)
        notes += [f"{flag} {name}: {shared}"] if shared else []
    return notes


def _stem(name: str) -> str:
    return name if name in data.retrieval_names() else name.rpartition("-")[0]


def cells(rows: dict[str, Found], metrics: Metrics, k: int) -> tuple[list[str], list[list[str]]]:
    """Header and rows: retriever, metrics x 100, milliseconds. Recall beyond the length of the lists is left out."""
    names = [f"recall@{cut}" for cut in KS if cut <= k] + ["mrr@10", "ndcg@10"]
    shown = [name.replace("recall", "R").replace("mrr", "MRR").replace("ndcg", "nDCG") for name in names]
    used = [stage for stage in STAGES if any(stage in found.seconds for found in rows.values())]
    out = []
    for name, found in rows.items():
        ms = found.ms()
        times = [f"{ms[stage]:.2f}" if stage in ms else "-" for stage in used]
        out.append([name, *(percent(metrics[name][metric]) for metric in names), *times])
    return ["x 100", *shown, *(f"{stage} ms" for stage in used)], out


def heading(session: "Session", dataset: data.RetrievalSet) -> str:
    sample = f" (a sample, seed 0, of --sample {session.args.sample})" if session.args.sample else ""
    skipped = f"; {dataset.skipped:,} questions of the files are skipped" if dataset.skipped else ""
    return f"{dataset.key}: {len(dataset):,} questions{sample}, {len(dataset.passages):,} passages in the pool{skipped}"


def printed_table(
    session: "Session", dataset: data.RetrievalSet, rows: dict[str, Found], metrics: Metrics
) -> str:
    out = heading(session, dataset) + "\n\n" + table(*cells(rows, metrics, session.args.k)) + "\n"
    if any(found.seconds for found in rows.values()):
        out += "\nms a question, all questions at once: analysis or encoding of the question, search, fusion, re-ranking"
    out += "".join(f"\n* {note}" for note in session.notes)
    return out + (f"\n\nwritten to {session.args.output}" if session.args.output else "")


def markdown(session: "Session", dataset: data.RetrievalSet, rows: dict[str, Found], metrics: Metrics) -> str:
    """table.md: heading, command, the table, notes."""
    header, body = cells(rows, metrics, session.args.k)
    lines = [f"| {' | '.join(row)} |" for row in [header, *body]]
    lines.insert(1, "|---" + "|--:" * (len(header) - 1) + "|")
    notes = "".join(f"- {note}\n" for note in session.notes)
    return (
        f"{heading(session, dataset)}\n\n    {command(session.args.argv)}\n\n"
        + "\n".join(lines)
        + f"\n\n{notes}"
    )


def printed_hits(session: "Session", dataset: data.RetrievalSet, rows: dict[str, Found]) -> str:
    """For every question the first passages of every row, with their scores."""
    out = []
    for i, question in enumerate(dataset.questions):
        out.append(question.text)
        for name, found in rows.items():
            out.append(f"\n  {name}")
            ids, scores = found.ranking.ids[i], found.ranking.scores[i]
            for rank, (position, score) in enumerate(zip(ids, scores, strict=True), start=1):
                if rank > session.args.show:
                    break
                passage = dataset.passages[position]
                out.append(f"  {rank:>3}  {score:9.4f}  {passage.id}  {passage.title}".rstrip())
                text = textwrap.shorten(passage.text, SHOWN, placeholder=" ...")
                out.append(textwrap.indent(textwrap.fill(text, WIDTH - 7), " " * 7))
            if not ids:
                out.append("       nothing found")
        out.append("")
    return "\n".join([*out, *(f"* {note}" for note in session.notes)])


def write(session: "Session", dataset: data.RetrievalSet, rows: dict[str, Found], metrics: Metrics) -> None:
    """results.json, table.md and the run files of --output; the record of --record."""
    args = session.args
    if args.output is None and args.record is None:
        return
    results = results_of(session, dataset, rows, metrics)
    if args.output is not None:
        folder = Path(args.output)
        questions, passages = [q.id for q in dataset.questions], [p.id for p in dataset.passages]
        for name, found in rows.items():
            slug = name.replace(" ", "")
            write_run(folder / f"{slug}.run", questions, passages, found.ranking, slug)
        _write(folder / "table.md", markdown(session, dataset, rows, metrics))
        _write(folder / "results.json", to_json(results))
    if args.record is not None:
        _write(RESULTS / "retrieval" / f"{args.record}.json", to_json(recorded(args.record, results)))


def _write(path: Path, text: str) -> None:
    try:
        write_text_atomically(path, text)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


def results_of(
    session: "Session", dataset: data.RetrievalSet, rows: dict[str, Found], metrics: Metrics
) -> dict[str, Any]:
    """What somebody repeating the run has to know, and what came of it."""
    args = session.args
    files = {path: sha256_of(Path(path)) for path in args.retriever if path.endswith(RUN_FILES)}
    return {
        "argv": args.argv,
        "flags": {name: value for name, value in vars(args).items() if name != "argv"},
        "environment": {**environment(), "bm25s": importlib.metadata.version("bm25s")},
        "set": {
            "name": dataset.key,
            "questions": len(dataset),
            "passages": len(dataset.passages),
            "skipped": dataset.skipped,
        },
        "data": {**dataset.files, **files},
        **session.facts,
        "rows": {name: {**up_to(metrics[name], args.k), "ms": found.ms()} for name, found in rows.items()},
        "notes": session.notes,
    }


def up_to(metrics: dict[str, float], k: int) -> dict[str, float]:
    """Without the metrics of ranks that lists of ``k`` passages do not have."""
    return {name: value for name, value in metrics.items() if int(name.rpartition("@")[2]) <= max(k, 1)}


def recorded(name: str, results: dict[str, Any]) -> dict[str, Any]:
    """The results without what belongs to one machine: its folders."""
    argv, flags = repeatable(results["argv"]), dict(results["flags"])
    for flag in OF_THIS_MACHINE:
        flags.pop(flag, None)
    flags = {
        flag: [portable(x) for x in v] if isinstance(v, list) else portable(v) for flag, v in flags.items()
    }
    return {
        "name": name,
        "command": command(argv),
        **results,
        "argv": argv,
        "flags": flags,
        "data": {portable(file): sha256 for file, sha256 in results["data"].items()},
        "notes": [
            re.sub(r"(?<!\S)/\S+", lambda path: str(portable(path.group())), note)
            for note in results["notes"]
        ],
    }


def repeatable(argv: list[str]) -> list[str]:
    """The words of a command without the flags of this machine, and without folders that only it has."""
    out, skip = [], False
    for word in argv:
        if word.startswith("--"):
            skip = word.split("=")[0].removeprefix("--").replace("-", "_") in OF_THIS_MACHINE
        if not skip:
            flag, equals, value = word.partition("=")
            out.append(
                f"{flag}={portable(value)}" if equals and word.startswith("--") else str(portable(word))
            )
    return out


def portable(value: Any) -> Any:
    """An absolute path becomes one below the current folder, or a mere name; all else stays."""
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    path = Path(value)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def command(argv: list[str]) -> str:
    return shlex.join(["python", "-m", "experiments.retrieve", *argv])
