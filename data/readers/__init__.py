"""Readers by name: each turns the files of one layout into (examples, rows skipped by rule), or into ``Contents``."""

from __future__ import annotations

from collections.abc import Callable

from data.examples import Example
from data.readers import afs, beir, nli, parallel, senteval, squad, sts, wikisec
from data.readers.text import Raw
from data.retrieval import Contents

READERS: dict[str, Callable[[list[Raw], str], tuple[list[Example], int]]] = {
    "stsb": sts.read_stsb,
    "sbert-stsb": sts.read_sbert_stsb,
    "scored-table": sts.read_scored_table,
    "sick": sts.read_sick,
    "klue-sts": sts.read_klue_sts,
    "semeval-pasted": sts.read_semeval_pasted,
    "semeval-official": sts.read_semeval_official,
    "sts12-rebuilt": sts.read_sts12_rebuilt,
    "labelled-table": nli.read_labelled_table,
    "kornli": nli.read_kornli,
    "sick-nli": nli.read_sick_nli,
    "jsonl": nli.read_jsonl,
    "snli": nli.read_snli,
    "allnli": nli.read_allnli,
    "klue-nli": nli.read_klue_nli,
    "xnli": nli.read_xnli,
    "xnli-lines": nli.read_xnli_lines,
    "binary-lines": senteval.read_binary,
    "binary-lines-with-blanks": senteval.read_binary_with_blanks,
    "latin1-binary-lines": senteval.read_binary_latin1,
    "trec": senteval.read_trec,
    "mrpc": senteval.read_mrpc,
    "wikisec": wikisec.read_wikisec,
    "afs": afs.read_afs,
    "parallel": parallel.read_parallel,
}

RETRIEVAL_READERS: dict[str, Callable[[list[Raw], str], Contents]] = {
    "squad": squad.read_squad,
    "squad-by-title": squad.read_squad_by_title,
    "tydiqa-korean": squad.read_tydiqa_korean,
    "beir": beir.read_beir,
}
