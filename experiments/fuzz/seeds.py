"""Small whole files in every layout that is read: what the fuzzer damages. Each is read without an error as it stands."""

import json


def _tsv(*rows: str) -> bytes:
    return "".join(row.replace("|", "\t") + "\n" for row in rows).encode()


def _jsonl(*items: object) -> bytes:
    return "".join(json.dumps(item) + "\n" for item in items).encode()


def _json(item: object) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode()


NLI = {"sentence1": "a man rides", "sentence2": "he sits", "gold_label": "entailment", "pairID": "1"}
QAS = [{"id": "q1", "question": "누가 지었나?", "answers": [{"text": "왕"}]}]
SQUAD = {"data": [{"title": "궁", "paragraphs": [{"context": "왕이 궁을 지었다.", "qas": QAS}]}]}
KOREAN = {"data": [{"paragraphs": [{"context": "왕이 지었다.", "qas": [{**QAS[0], "id": "korean-7-1"}]}]}]}
STSB = "main|MSRvid|2012test|1|3.5|a cat|a dog"

# reader of data.readers.READERS -> the files of a split
EXAMPLES: dict[str, list[bytes]] = {
    "stsb": [_tsv(STSB, "main|f|2015|2|0|x|y|source|other")],
    "sbert-stsb": [_tsv("split|genre|score|sentence1|sentence2", "test|g|2.5|a|b")],
    "scored-table": [_tsv("score|sentence1|sentence2", "5|비가 온다|b", "0.2|c|d")],
    "sick": [
        _tsv("pair_ID|sentence_A|sentence_B|relatedness_score|entailment_judgment", "1|a|b|3.4|NEUTRAL")
    ],
    "klue-sts": [_json([{"sentence1": "가", "sentence2": "나", "labels": {"label": 4.9, "binary-label": 1}}])],
    "semeval-pasted": [_tsv("3.2|a|b", "|c|d")],
    "semeval-official": [_tsv("a|b", "c|d|http"), b"3.2\n\n"],
    "sts12-rebuilt": [_tsv("3|a|b"), _tsv(STSB)],
    "labelled-table": [_tsv("sentence1|sentence2|gold_label", "a|b|neutral")],
    "kornli": [_tsv("sentence1|sentence2|gold_label", "가|나|neutral")],
    "sick-nli": [_tsv("pair_ID|sentence_A|sentence_B|relatedness_score|entailment_judgment", "1|a|b|1|ENTAILMENT")],
    "jsonl": [_jsonl(NLI, {**NLI, "gold_label": "-"})],
    "snli": [_jsonl(NLI)],
    "allnli": [_tsv("split|dataset|filename|sentence1|sentence2|label", "test|s|f|a|b|neutral")],
    "klue-nli": [_json([{"premise": "가", "hypothesis": "나", "gold_label": "neutral"}])],
    "xnli": [_tsv("language|gold_label|sentence1|sentence2", "en|neutral|a|b", "ko|neutral|c|d")],
    "xnli-lines": [_tsv("a|b|neutral"), _tsv("sentence1|sentence2|gold_label", "가|나|neutral")],
    "binary-lines": [b"1 good\n0 bad\n"],
    "binary-lines-with-blanks": [b"1 good\n0 \n"],
    "latin1-binary-lines": [b"1 clich\xe9\n"],
    "trec": [b"2 what is it ?\n"],
    "mrpc": [_tsv("Quality|#1 ID|#2 ID|#1 String|#2 String", "1|1|2|a|b")],
    "parallel": [b"a man rides\na dog runs\n", "남자가 탄다\n개가 달린다\n".encode()],
    "wikisec": [b'Sentence1,Sentence2,Sentence3,x\na,"b, c",d,1\n'],
    "afs": [b'regression_label,sentence_1,sentence_2\n2.5,"a ""b""",c\n'],
}  # fmt: skip

CORPUS = _jsonl({"_id": "d1", "title": "t", "text": "a text"}, {"_id": "d2", "text": ""})
QUERIES = _jsonl({"_id": "q1", "text": "who?"})
QRELS = _tsv("query-id|corpus-id|score", "q1|d1|1", "q1|d2|0")
RETRIEVAL: dict[str, list[bytes]] = {
    "squad": [_json(SQUAD)],
    "squad-by-title": [_json(SQUAD)],
    "tydiqa-korean": [_json(KOREAN)],
    "beir": [CORPUS, QUERIES, QRELS],
}

OWN: dict[str, list[bytes]] = {
    ".tsv": [_tsv("sentence1|sentence2|score", "a|b|0.5"), _tsv("anchor|positive|negative|margin", "a|b|c|-1.5")],
    ".csv": [b'sentence1,sentence2,label\n"a ""b""",c,neutral\n', b"anchor,positive\na,b\n", b"source,target\na,b\n"],
    ".jsonl": [
        _jsonl({"query": "q", "positive": ["a", "b"], "negative": ["c"], "passages": ["1", "2", "3"], "relevant": ["1"]}),
        _jsonl({"query": "q", "positive": "a", "documents": ["c", "a"]}),
        _jsonl({"query": "q", "documents": ["c", "a"], "scores": [0, 2.5]}),
        _jsonl({"sentence1": "a", "sentence2": "b", "score": 1}),
    ],
}  # fmt: skip

LINES = b"one text\n\nanother \xea\xb3\xa0\xec\x96\x91\n"
PASSAGES = _jsonl({"id": "a", "text": "one", "title": "t"}, {"text": "two"})
RUN = b"q1 Q0 d1 1 0.5 tag\nq1 Q0 d2 2 0.25 tag\n"
VECTORS = b"2 3\ncat 0.1 0.2 0.3\ndog -1 2e-3 4\n"
WORDS = [
    "0",
    "-1",
    "1",
    "2",
    "16",
    "nan",
    "inf",
    "1e999",
    "1_0",
    "0x10",
    "''",
    "x",
    "auto",
    "cpu",
    "cuda:0",
    "bi",
    "cross",
    "minilm",
    "samples",
    "stsb",
    "samples-sts-en-dev",
    "nli-en",
    "squad",
    "korquad",
    "gone.tsv",
    "a.jsonl",
    "classification",
    "regression",
    "triplet",
    "ranking",
    "u,v",
    "last",
    "fp32",
    "fp16",
    "bf16",
    "mean",
    "cls",
    "length",
    "topics",
    "--nothing",
    "-",
    "=",
    "%",
    "{}",
    "runs/x",
    "\x00",
    "�",
    "고양이",
]
