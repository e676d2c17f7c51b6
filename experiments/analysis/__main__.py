"""Why one retriever is behind another, and what it adds: a report from TREC run files, with pictures.

    python -m experiments.retrieve --data squad --retriever bm25 dense hybrid --output runs/squad
    python -m experiments.analysis --data squad --output analysis/squad \\
        --runs bm25=runs/squad/bm25.run dense=runs/squad/dense.run hybrid=runs/squad/hybrid.run

Writes into --output: report.md (numbered claims, tables, examples) with its PNG pictures (these need matplotlib: pip
install matplotlib), splits.md (every pair of runs by question), questions.csv (features and ranks of every question)
and analysis.json (every number, with the command and the hashes of what was read). The same input, the same numbers.
"""

from __future__ import annotations

import argparse
import csv
import io
import shlex
import sys
from pathlib import Path
from typing import Any

from data.examples import DataError, UnknownName
from data.files import write_text_atomically
from experiments.analysis import compare, failures, pictures, what_it_adds, why_behind
from experiments.analysis.bootstrap import RESAMPLES, SEED, Bootstrap
from experiments.analysis.claims import Claim, Grounds
from experiments.analysis.features import Facts, features, measure
from experiments.analysis.report import Findings, markdown, metrics_table, splits_file
from experiments.analysis.study import NOT_FOUND, Study, load_study
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser
from sbert.jsonfile import to_json

ROLES = ("sparse", "dense", "fused", "reranked", "first_stage")
SHOWN = 3  # failures of each kind


def all_claims(grounds: Grounds) -> list[Claim]:
    """In the order of the argument; those whose runs or facts are missing are left out."""
    roles = grounds.study.roles
    found = [
        why_behind.gap_claim(grounds),
        why_behind.overlap_claim(grounds),
        why_behind.matched_claim(grounds),
        *(why_behind.contrast_claim(grounds, *case) for case in why_behind.CONTRASTS),
        why_behind.article_claim(grounds),
        what_it_adds.adds_claim(grounds),
        what_it_adds.where_claim(grounds),
        what_it_adds.fusion_claim(grounds) if roles.fused else None,
        what_it_adds.rerank_claim(grounds) if roles.reranked else None,
    ]
    return [claim for claim in found if claim is not None]


def find(
    args: argparse.Namespace, study: Study, facts: Facts, claims: list[Claim], bootstrap: Bootstrap
) -> Findings:
    """Everything that is reported beside the claims."""
    groups = features(facts)
    pairs = compare.pairs(study, bootstrap)
    strata = [compare.strata(study, bootstrap, pair, groups) for pair in pairs]
    main = [(pair.one, pair.other) for pair in pairs].index((study.roles.dense, study.roles.sparse))
    return Findings(
        study=study,
        bootstrap=bootstrap,
        features=groups,
        metrics={
            name: compare.metrics_of(system, system.covered, len(study.dataset.passages))
            for name, system in study.systems.items()
        },
        pairs=pairs,
        strata=strata,
        main=strata[main],
        claims=claims,
        failures=examples(study, facts),
        command=f"python -m experiments.analysis {shlex.join(args.argv)}",
    )


def examples(study: Study, facts: Facts) -> dict[str, list[failures.Failure]]:
    """Heading -> the worst questions of that kind."""
    roles = study.roles
    cases = [(roles.dense, roles.sparse), (roles.sparse, roles.dense)]
    if roles.fused:
        cases += [(roles.fused, roles.sparse)]
    if roles.reranked and roles.first_stage:
        cases += [(roles.reranked, roles.first_stage)]
    found = {
        f"Worst of {run}, where {helper} has it first": failures.worst(study, facts, run, helper, SHOWN)
        for run, helper in cases
    }
    return found | {"Found late or never by every run": failures.missed_by_all(study, facts, SHOWN)}


def as_json(args: argparse.Namespace, found: Findings) -> dict[str, Any]:
    """analysis.json"""
    from sbert.run import environment

    study = found.study
    return {
        "command": found.command,
        "environment": environment(),
        "data": {"name": study.dataset.key, "questions": len(study), "files": study.dataset.files},
        "runs": {name: {"file": s.path, "sha256": s.sha256} for name, s in study.systems.items()},
        "roles": {role: getattr(study.roles, role) for role in ROLES},
        "notes": study.notes,
        "bootstrap": {"resamples": found.bootstrap.resamples, "seed": found.bootstrap.seed, "level": 0.95},
        "metrics": found.metrics,
        "claims": [claim.as_json() for claim in found.claims],
        "pairs": [
            {
                "one": pair.one,
                "other": pair.other,
                "questions": int(pair.where.sum()),
                "found": pair.found,
                "one - other": {name: gap.as_json() for name, gap in pair.gaps.items()},
                "strata": [
                    {"feature": s.feature, "group": s.label, "questions": s.count, "found": s.found}
                    | {f"one - other, {compare.GAP}": s.gap.as_json()}
                    for s in strata
                ],
            }
            for pair, strata in zip(found.pairs, found.strata, strict=True)
        ],
        "fusion": {k: compare.fusion_table(study, k) for k in compare.CUTOFFS} if study.roles.fused else None,
        "reranking": reranking(study),
        "failures": {title: [row.as_json() for row in rows] for title, rows in found.failures.items()},
    }


def reranking(study: Study) -> dict[str, Any] | None:
    """Transitions and repairs of the re-ranked run."""
    roles = study.roles
    if not roles.reranked or not roles.first_stage:
        return None
    before, after = (study.systems[name].rank for name in (roles.first_stage, roles.reranked))
    where = study.both(roles.first_stage, roles.reranked)
    return {
        "buckets": compare.BUCKETS,
        "transitions": compare.transitions(before, after, where).tolist(),
        "at": {k: compare.repairs(before, after, where, k) for k in compare.CUTOFFS},
    }


def questions_csv(study: Study, facts: Facts) -> str:
    """One row a question: id, article, features, and its rank in every run (empty: not found, or not asked)."""
    articles = study.article() or [""] * len(study)
    rows = [
        {"question": question.id, "article": article, "passage": study.dataset.passages[passage].id}
        | fact
        | {
            f"rank {name}": int(s.rank[i]) if s.covered[i] and s.rank[i] < NOT_FOUND else None
            for name, s in study.systems.items()
        }
        for i, (question, article, passage, fact) in enumerate(
            zip(study.dataset.questions, articles, facts.passage, facts.rows(), strict=True)
        )
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def run(args: argparse.Namespace) -> str:
    """Writes the files of --output, or with --claim none; returns what to print."""
    import data
    from sbert.report import table

    dataset = data.load_retrieval(args.data, args.split, data_dir=args.data_dir)
    given = {role: getattr(args, role) for role in ROLES}
    study = load_study(dataset, dict(args.runs), given, args.partial, args.complete)
    facts = measure(study.dataset)
    bootstrap = Bootstrap(len(study), study.article(), args.resamples, args.seed)
    claims = all_claims(Grounds(study, bootstrap, facts, {f.name: f for f in features(facts)}))
    if args.claim is not None:
        chosen = next((claim for claim in claims if claim.name == args.claim), None)
        if chosen is None:
            names = ", ".join(claim.name for claim in claims)
            raise UsageError(f"--claim {args.claim}: these runs and data give the claims {names}")
        return f"{chosen.text}\nCounter-check: {chosen.check}"
    found = find(args, study, facts, claims, bootstrap)
    args.output.mkdir(parents=True, exist_ok=True)
    drawn = None
    if pictures.can_draw():
        drawn = pictures.draw_all(args.output, study, found.pairs, found.main, found.features)
    write_text_atomically(args.output / "questions.csv", questions_csv(study, facts))
    write_text_atomically(args.output / "splits.md", splits_file(found))
    write_text_atomically(args.output / "analysis.json", to_json(as_json(args, found)))
    write_text_atomically(args.output / "report.md", markdown(found, drawn))
    said = [f"{i}. {claim.text}\n   Counter-check: {claim.check}" for i, claim in enumerate(claims, start=1)]
    without = "" if drawn is not None else f"\nno pictures: they need matplotlib: {pictures.INSTALL}"
    return (
        metrics_table(found.metrics, study, table)
        + "\n\n"
        + "\n\n".join([*(f"Note: {note}" for note in study.notes), *said])
        + f"\n\n{args.output / 'report.md'}{without}"
    )


def named_file(text: str) -> tuple[str, Path]:
    """``name=file``"""
    name, sign, path = text.partition("=")
    if not sign or not path or name.split() != [name] or "|" in name:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=FILE, a name of one word")
    return name, Path(path)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return int(text)


def build_parser() -> Parser:
    parser = Parser(
        allow_abbrev=False,
        prog="python -m experiments.analysis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", required=True, help="the set that was searched: squad, korquad-dev, a file, ..."
    )
    parser.add_argument(
        "--split", help="train, dev or test; default: the one in the name, else the set's own"
    )
    parser.add_argument("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    parser.add_argument(
        "--runs",
        nargs="+",
        required=True,
        type=named_file,
        metavar="NAME=FILE",
        help="TREC run files, .gz or not",
    )
    for role, what in (
        ("sparse", "the sparse run [by name: bm25, sparse]"),
        ("dense", "the dense run [by name: dense, minilm, bi]"),
        ("fused", "the run fused of both [by name: hybrid, fus, blend, convex, rrf]"),
        ("reranked", "the re-ranked run [by name: rerank]"),
        ("first-stage", "what was re-ranked [the fused run, else the sparse one]"),
    ):
        parser.add_argument(f"--{role}", metavar="NAME", help=what)
    parser.add_argument(
        "--partial",
        nargs="+",
        default=[],
        metavar="NAME",
        help="runs made for a sample of the questions: compared on those that they have lines for",
    )
    parser.add_argument(
        "--complete",
        nargs="+",
        default=[],
        metavar="NAME",
        help="runs made for all questions: those without a line count as missed, however many they are",
    )
    parser.add_argument("--output", type=Path, help="the folder to write into")
    parser.add_argument("--claim", metavar="NAME", help="compute and print this claim; nothing is written")
    parser.add_argument("--resamples", type=positive, default=RESAMPLES, metavar="N", help=f"[{RESAMPLES:,}]")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the bootstrap [{SEED}]")
    return parser


def main(argv: list[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    args.argv = argv
    names = [name for name, _ in args.runs]
    if len(set(names)) < len(names) or len(names) < 2:
        parser.error(f"--runs needs two or more runs of different names, got {', '.join(names)}")
    if (args.output is None) == (args.claim is None):
        parser.error("say either --output FOLDER or --claim NAME")
    try:
        print(run(args))
    except (UsageError, UnknownName) as error:
        print(f"analysis: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"analysis: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
