"""Write the golden cross-encoders of tests/golden/cross with sentence-transformers itself.

Run it with an interpreter that has sentence-transformers 6.x:

    python tests/golden/make_cross_golden.py

As in make_golden.py every model is tiny and random. ``<case>/model`` is the directory as ``CrossEncoder.save`` or, for
``plain_*``, ``AutoModelForSequenceClassification.save_pretrained`` wrote it; ``legacy_*`` have their activation moved to
the key of versions before 4. ``<case>/expected.json`` has the scores of PAIRS by a CrossEncoder that read it back.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from make_golden import INNER_WIDTH, KOREAN, MAX_TOKENS, WIDTH, Case, randomise, tokenizer_of, write_json
from sentence_transformers import CrossEncoder  # type: ignore[import-not-found]
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

HERE = Path(__file__).resolve().parent / "cross"
PAIRS = [
    ("A man is playing a guitar.", "The man eats rice."),
    ("The man eats rice.", "A man is playing a guitar."),  # the other way round is another pair
    ("한국 사람이 기타를 친다.", "아이가 물을 마신다"),
    ("아이가 물을 마신다", "서울은 크다 and the PARK is big"),
    ("a dog runs", "한국어 문장입니다"),
    ("기타를 친다", f"{KOREAN} the man and the woman run in the park. " * 3),  # longer than MAX_TOKENS
    ("the woman drinks water in the park, " * 8, "물"),
    ("", "A man is playing a guitar."),
    ("", ""),
    ("🙂 the dog 🚀", "  spaced \t out \n text  "),
    ("a b c", "c b a?"),
    ("A man is playing a guitar.", "The man eats rice."),  # a duplicate
]


@dataclass(frozen=True)
class Cross:
    """One golden directory. activation None: the peer's default, sigmoid for one label, nothing for several."""

    name: str
    family: str
    labels: int = 1
    activation: torch.nn.Module | None = None
    layout: str = "current"  # current | legacy | plain


CASES = [
    Cross("bert_1_label", "bert"),
    Cross("bert_tanh", "bert", activation=torch.nn.Tanh()),
    Cross("roberta_3_labels", "roberta", labels=3),
    Cross("xlm_roberta_1_label", "xlm-roberta"),
    Cross("electra_1_label", "electra"),
    Cross("electra_3_labels_plain", "electra", labels=3, layout="plain"),
    Cross("modernbert_1_label", "modernbert"),
    Cross("deberta_v2_1_label", "deberta-v2"),
    Cross("legacy_identity", "bert", activation=torch.nn.Identity(), layout="legacy"),
    Cross("plain_bert", "bert", layout="plain"),
]


def classifier_of(family: str, labels: int, vocab_size: int) -> PreTrainedModel:
    """A two-layer encoder with the family's own classifier, every parameter random."""
    sizes: dict[str, Any] = {"vocab_size": vocab_size, "max_position_embeddings": MAX_TOKENS}
    sizes |= {"hidden_size": WIDTH, "intermediate_size": INNER_WIDTH, "num_labels": labels}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    counted = {
        "max_position_embeddings": MAX_TOKENS + 2,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    special = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    window = {"global_attn_every_n_layers": 2, "local_attention": 8, **special}
    relative = {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]}
    makers: dict[str, Any] = {
        "bert": lambda: BertForSequenceClassification(BertConfig(**sizes)),
        "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**{**sizes, **counted})),
        "xlm-roberta": lambda: XLMRobertaForSequenceClassification(XLMRobertaConfig(**{**sizes, **counted})),
        "electra": lambda: ElectraForSequenceClassification(ElectraConfig(**sizes, embedding_size=WIDTH)),
        "modernbert": lambda: ModernBertForSequenceClassification(ModernBertConfig(**sizes, **window)),
        "deberta-v2": lambda: DebertaV2ForSequenceClassification(
            DebertaV2Config(**sizes, **relative, type_vocab_size=0)
        ),
    }
    model: PreTrainedModel = makers[family]()
    randomise(model)
    return model


def make_legacy(directory: Path) -> None:
    """The layout before version 4: a plain directory with the activation under its old key in config.json."""
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (directory / name).unlink()
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config.pop("sentence_transformers", None)
    config["sbert_ce_default_activation_function"] = "torch.nn.modules.linear.Identity"
    write_json(directory / "config.json", config)


def write_case(case: Cross) -> None:
    """Write <case>/model and <case>/expected.json; the scores are those of the directory read back."""
    directory = HERE / case.name
    shutil.rmtree(directory, ignore_errors=True)
    torch.manual_seed(zlib.crc32(case.family.encode()))
    letters = "roberta" if "roberta" in case.family else "bert"
    tokenizer = tokenizer_of(Case(case.name, family=letters))
    if case.family == "modernbert":  # whose own tokenizers give no token types
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    network = classifier_of(case.family, case.labels, len(tokenizer))
    with tempfile.TemporaryDirectory() as scratch:
        folder = directory / "model" if case.layout == "plain" else Path(scratch)
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if case.layout != "plain":
            model = CrossEncoder(scratch, activation_fn=case.activation, device="cpu")
            model.save_pretrained(str(directory / "model"), create_model_card=False)
    if case.layout == "legacy":
        make_legacy(directory / "model")
    reloaded = CrossEncoder(str(directory / "model"), device="cpu", local_files_only=True)
    scores = reloaded.predict(PAIRS, show_progress_bar=False)
    alone = abs(scores - reloaded.predict(PAIRS, batch_size=1, show_progress_bar=False)).max()
    if not alone <= 1e-5:
        raise RuntimeError(f"{case.name}: the scores depend on the batch (difference {alone})")
    rows = {"pairs": [json.dumps(pair, ensure_ascii=False) for pair in PAIRS]}
    rows["scores"] = [json.dumps([round(x, 8) for x in row] if case.labels > 1 else round(row, 8))
                      for row in scores.tolist()]  # fmt: skip
    parts = [f'"{key}": [\n' + ",\n".join(lines) + "\n]" for key, lines in rows.items()]
    text = "{\n" + f'"activation": "{type(reloaded.activation_fn).__name__}",\n' + ",\n".join(parts) + "\n}\n"
    (directory / "expected.json").write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    print(
        f"{case.name:24} {scores.shape!s:8} {size / 1000:6.1f} kB, from {scores.min():.4f} to {scores.max():.4f}"
    )


def main() -> None:
    torch.set_num_threads(1)
    for case in CASES:
        write_case(case)


if __name__ == "__main__":
    main()
