"""Random encoders of a few thousand parameters, one for each family, saved as plain Hugging Face directories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

import data
from sbert.cross_encoder import CrossEncoder
from sbert.directory import Description
from sbert.encoder import load_encoder, load_tokenizer
from sbert.model import modelWithPooling

WIDTH, POSITIONS, WORDS = 32, 64, 400
BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA_SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")


@cache
def vocabulary() -> tuple[str, ...]:
    """The most frequent words of the embedded training sets, then every letter, alone and inside a word."""
    words: Counter[str] = Counter()
    for name in ("samples-sts-train", "samples-nli-train"):
        for example in data.load(name).examples:
            for text in example.texts:
                words.update(text.lower().replace(".", " ").replace(",", " ").split())
    frequent = sorted(words, key=lambda word: (-words[word], word))[:WORDS]
    letters = sorted({letter for word in words for letter in word} | set(".,?!"))
    return tuple(dict.fromkeys([*frequent, *letters, *("##" + letter for letter in letters)]))


def tiny_tokenizer(
    specials: tuple[str, ...] = BERT_SPECIALS, first: int = 0, types: bool = False
) -> PreTrainedTokenizerFast:
    """WordPiece in lower case; accents are kept, since taking them off takes Hangul apart.

    specials: padding, unknown, opening, closing, mask. first: ids left free before them, so that the padding id is
    not 0 where a family counts its positions from it. types: whether it tells both texts of a pair apart.
    """
    pad, unknown, opening, closing, mask = specials
    tokens = [*(f"[unused{i}]" for i in range(first)), *specials, *vocabulary()]
    ids = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(WordPiece(ids, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{opening} $A {closing}",
        pair=f"{opening} $A {closing} $B:1 {closing}:1",
        special_tokens=[(opening, ids[opening]), (closing, ids[closing])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=opening,
        sep_token=closing,
        mask_token=mask,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", *(["token_type_ids"] if types else []), "attention_mask"],
    )


def tiny_config(family: str, tokenizer: PreTrainedTokenizerFast, layers: int = 2) -> PreTrainedConfig:
    """The smallest configuration of a family whose every part is still there."""
    pad = tokenizer.pad_token_id
    common = {"vocab_size": len(tokenizer), "pad_token_id": pad}
    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": POSITIONS,
    }
    after_padding = {
        "max_position_embeddings": POSITIONS + pad + 1
    }  # positions are counted from the padding id
    relative = {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]}
    distil = {"dim": WIDTH, "n_layers": layers, "n_heads": 2, "hidden_dim": 48}
    specials = {
        "bos_token_id": tokenizer.cls_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    window = {"global_attn_every_n_layers": 2, "local_attention": 8}
    makers = {
        "bert": lambda: BertConfig(**common, **sizes),
        "roberta": lambda: RobertaConfig(**common, **{**sizes, **after_padding}, type_vocab_size=1),
        "electra": lambda: ElectraConfig(**common, **sizes, embedding_size=16),
        "distilbert": lambda: DistilBertConfig(**common, **distil, max_position_embeddings=POSITIONS),
        "xlm-roberta": lambda: XLMRobertaConfig(**common, **{**sizes, **after_padding}, type_vocab_size=1),
        "mpnet": lambda: MPNetConfig(**common, **{**sizes, **after_padding}),
        "deberta-v2": lambda: DebertaV2Config(**common, **sizes, **relative, type_vocab_size=0),
        "modernbert": lambda: ModernBertConfig(**common, **sizes, **specials, **window),
    }
    return makers[family]()


FAMILIES = ("bert", "roberta", "electra", "distilbert", "xlm-roberta", "mpnet", "deberta-v2", "modernbert")


def enlarge(parameters: Iterable[torch.nn.Parameter], std: float = 0.2) -> None:
    """Random matrices, large enough that different texts give different numbers."""
    with torch.no_grad():
        for parameter in parameters:
            if parameter.dim() > 1:
                parameter.normal_(std=std)


def save_tiny(
    folder: Path, family: str = "bert", *, layers: int = 2, seed: int = 0, types: bool = False
) -> Path:
    """A plain Hugging Face directory: config, weights, tokenizer. Weights are large enough that texts differ."""
    counted = family in ("roberta", "xlm-roberta", "mpnet")
    tokenizer = tiny_tokenizer(ROBERTA_SPECIALS, 1, types) if counted else tiny_tokenizer(types=types)
    config = tiny_config(family, tokenizer, layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config)
        enlarge(model.parameters())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_model(directory: Path, pooling: Any = "mean", **description: Any) -> modelWithPooling:
    """The tiny encoder with any pooling, layers and prompts, made without a model directory."""
    model = modelWithPooling(
        load_encoder(directory),
        pooling,
        tokenizer=load_tokenizer(directory),
        description=Description(**description),
    )
    return model.eval()


def tiny_cross(
    directory: Path, head: str = "classification", num_labels: int = 1, **options: Any
) -> CrossEncoder:
    """A cross-encoder on a tiny encoder, its head random and large enough that pairs differ in score."""
    model = CrossEncoder.from_pretrained(directory, head=head, num_labels=num_labels, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        enlarge(model.head_parameters())
    return model
