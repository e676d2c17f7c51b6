"""Write the golden directories and values of tests/golden with sentence-transformers itself.

Run it with an interpreter that has sentence-transformers 6.x (the project never imports that library; offline
tests use the files written here):

    python tests/golden/make_golden.py

Every model is tiny (hidden size 16, 2 layers) with random weights, so the numbers mean nothing: they show
that two programs read one directory in the same way. Everything is seeded; on one machine and one set of
versions the output is the same bytes each time. Cases of one family share their encoder, so git stores its
weights once. README.md says what each case shows.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import zlib
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from make_losses import expected_losses
from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]
from sentence_transformers.sentence_transformer.modules import (  # type: ignore[import-not-found]
    Dense,
    Normalize,
    Pooling,
    Transformer,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
)

HERE = Path(__file__).resolve().parent
WIDTH, INNER_WIDTH, DENSE_WIDTH, MAX_TOKENS = 16, 16, 12, 32
ALL_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

ENGLISH = "a the man woman child dog is play ##ing guitar eat ##s rice and drink water run in park"
KOREAN = "한국 한국어 사람 ##이 기타 ##를 친다 아이 ##가 물 ##을 마신다 서울 ##은 크다 문장 ##입니다"
PROMPT_WORDS = "query document clustering"
LETTERS = [piece for letter in "abcdefghijklmnopqrstuvwxyz" for piece in (letter, "##" + letter)]
MARKS = [".", ",", "?", "!", ":", "1", "2", "🙂"]

TEXTS = [
    "A man is playing a guitar.",
    "The woman eats rice, and the child drinks water!",
    "한국 사람이 기타를 친다.",
    "아이가 물을 마신다",
    "서울은 크다 and the PARK is big 한국어 문장입니다",
    "",
    "🙂",
    "the dog 🙂 runs 🚀 in the park",  # the second emoji is not in the vocabulary
    "  spaced \t out \n text  ",
    "The man and the woman run in the park, 아이가 물을 마신다. " * 6,  # longer than every maximum used here
    "A man is playing a guitar.",  # a duplicate
]


@dataclass(frozen=True)
class Case:
    """One golden directory: how the model is built, in which layout it is written, and how it is called."""

    name: str
    family: str = "bert"  # bert | bert-cased | distilbert | mpnet | roberta
    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    after: tuple[str, ...] = ()  # of: dense_tanh, dense_identity, normalize
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    kind: str = "encode"  # encode | query | document: encode(), encode_query(), encode_document()
    prompt_name: str | None = None
    max_length: int = MAX_TOKENS
    padding_side: str = "right"
    layout: str = "current"  # current | legacy | plain
    truncate_dim: int | None = None
    similarity: str | None = None


PROMPTS = {"query": "query: ", "document": "document: "}
CASES = [
    *(Case(f"pooling_{mode}", pooling=(mode,)) for mode in ALL_MODES),
    Case("pooling_mean_max", pooling=("mean", "max")),
    Case("dense_tanh", after=("dense_tanh",)),
    Case("dense_identity_normalize", after=("dense_identity", "normalize")),
    Case("normalize", after=("normalize",), similarity="dot"),
    Case("truncate_dim", after=("normalize",), truncate_dim=6),
    Case("max_length_12", max_length=12),
    Case("prompts_default", prompts=PROMPTS, default_prompt_name="query"),
    Case("prompts_by_name", prompts={**PROMPTS, "clustering": "clustering: "}, prompt_name="clustering"),
    Case("prompts_query", prompts=PROMPTS, kind="query"),
    Case("prompts_document", prompts=PROMPTS, default_prompt_name="query", kind="document"),
    Case("prompts_empty", prompts={"query": "query: "}, default_prompt_name="query", kind="document"),
    Case("prompt_not_pooled", pooling=ALL_MODES, include_prompt=False, prompts=PROMPTS, kind="query"),
    Case("left_padding_cls", family="roberta", pooling=("cls",), padding_side="left"),
    Case("left_padding_all", family="mpnet", pooling=ALL_MODES, padding_side="left"),
    Case("left_padding_prompt", family="mpnet", pooling=ALL_MODES, include_prompt=False, padding_side="left",
         prompts=PROMPTS, kind="query"),
    Case("roberta_mean", family="roberta"),
    Case("mpnet_mean_normalize", family="mpnet", after=("normalize",)),
    Case("legacy_mean", family="bert-cased", max_length=12, layout="legacy"),
    Case("legacy_cls_max_dense", pooling=("cls", "max"), after=("dense_tanh", "normalize"), layout="legacy"),
    Case("plain_distilbert", family="distilbert", layout="plain"),
]  # fmt: skip


def tokenizer_of(case: Case) -> PreTrainedTokenizerBase:
    """A tokenizer of the case's family over about 100 WordPieces (RoBERTa: 256 bytes, no merges)."""
    options: dict[str, Any] = {"model_max_length": case.max_length, "padding_side": case.padding_side}
    if case.family == "roberta":
        pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
        return RobertaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], **options)
    # strip_accents=False: lower-casing would otherwise decompose the Korean syllables, held whole here.
    options |= {"strip_accents": False, "do_lower_case": case.family != "bert-cased"}
    listed = f"{ENGLISH} {KOREAN} {PROMPT_WORDS}".split() + LETTERS + MARKS
    words = list(dict.fromkeys(listed))  # "a" and "##s" are listed twice
    if case.family == "mpnet":
        pieces = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *words]
        return MPNetTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, **options)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, **options)


def encoder_of(case: Case, vocab_size: int) -> PreTrainedModel:
    """A two-layer encoder whose every parameter is random, so that a parameter left unread shows."""
    sizes: dict[str, Any] = {"vocab_size": vocab_size, "max_position_embeddings": MAX_TOKENS}
    if case.family == "distilbert":
        sizes |= {"dim": WIDTH, "hidden_dim": INNER_WIDTH, "n_layers": 2, "n_heads": 2}
    else:
        sizes |= {"hidden_size": WIDTH, "intermediate_size": INNER_WIDTH}
        sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    if case.family in ("roberta", "mpnet"):  # positions count from pad_token_id + 1
        sizes |= {"max_position_embeddings": MAX_TOKENS + 2}
        sizes |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    model: PreTrainedModel
    if case.family == "distilbert":
        model = DistilBertModel(DistilBertConfig(**sizes))
    elif case.family == "roberta":
        model = RobertaModel(RobertaConfig(**sizes))
    elif case.family == "mpnet":
        model = MPNetModel(MPNetConfig(**sizes))
    else:
        model = BertModel(BertConfig(**sizes))
    randomise(model)
    return model


def randomise(module: torch.nn.Module) -> None:
    """Normal(0, 0.3) everywhere; layer-norm gains around 1."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.normal_(0.0, 0.3)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.mul_(0.5).add_(1.0)


def build(case: Case, scratch: Path) -> SentenceTransformer:
    """The model of a case, built by the peer from its own modules."""
    torch.manual_seed(zlib.crc32(case.family.encode()))
    tokenizer = tokenizer_of(case)
    encoder_of(case, len(tokenizer)).save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    modules: list[torch.nn.Module] = [Transformer(str(scratch))]
    width = WIDTH * len(case.pooling)
    modules.append(Pooling(WIDTH, pooling_mode=case.pooling, include_prompt=case.include_prompt))
    for step in case.after:
        if step == "normalize":
            modules.append(Normalize())
            continue
        tanh = step == "dense_tanh"
        activation = torch.nn.Tanh() if tanh else torch.nn.Identity()
        modules.append(Dense(width, DENSE_WIDTH, bias=tanh, activation_function=activation))
        randomise(modules[-1])
    return SentenceTransformer(
        modules=modules, prompts=case.prompts, default_prompt_name=case.default_prompt_name,
        truncate_dim=case.truncate_dim, similarity_fn_name=case.similarity, device="cpu",
    )  # fmt: skip


def make_legacy(directory: Path, case: Case) -> None:
    """Rewrite a directory into the layout of sentence-transformers 2.x.

    The maximum length and lower-casing stand in sentence_bert_config.json and not in the tokenizer's file,
    pooling is a row of booleans, Dense has pytorch_model.bin, and Normalize has no folder at all.
    """
    modules = json.loads((directory / "modules.json").read_text(encoding="utf-8"))
    for module in modules:
        module["type"] = "sentence_transformers.models." + module["type"].rsplit(".", 1)[1]
        folder = directory / module["path"]
        if module["path"].endswith("Normalize"):
            shutil.rmtree(folder)
        if module["path"].endswith("Dense"):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            keep = ("in_features", "out_features", "bias", "activation_function")
            write_json(folder / "config.json", {key: config[key] for key in keep})
            dense = Dense.load(str(directory), subfolder=module["path"])
            torch.save(dense.state_dict(), folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
    write_json(directory / "modules.json", modules)
    old_version = {"sentence_transformers": "2.0.0", "transformers": "4.7.0", "pytorch": "1.9.0"}
    write_json(directory / "config_sentence_transformers.json", {"__version__": old_version})
    old_length = {"max_seq_length": case.max_length, "do_lower_case": case.family == "bert-cased"}
    write_json(directory / "sentence_bert_config.json", old_length)
    pooling: dict[str, Any] = {"word_embedding_dimension": WIDTH}
    old_names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    old_names["mean_sqrt_len_tokens"] = "mean_sqrt_len_tokens"
    pooling |= {f"pooling_mode_{old}": mode in case.pooling for mode, old in old_names.items()}
    write_json(directory / "1_Pooling" / "config.json", pooling)
    tokenizer_config = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer_config["model_max_length"] = 512  # so that max_seq_length is what decides
    write_json(directory / "tokenizer_config.json", tokenizer_config)


def make_plain(directory: Path) -> None:
    """Leave only what transformers itself writes: config, weights, tokenizer."""
    shutil.rmtree(directory / "1_Pooling")
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (directory / name).unlink()


def embed(model: SentenceTransformer, case: Case, **options: Any) -> torch.Tensor:
    """Embeddings (len(TEXTS), D), in fp32, of the shared texts, through the method the case names."""
    methods = {"encode": model.encode, "query": model.encode_query, "document": model.encode_document}
    options |= {"prompt_name": case.prompt_name, "convert_to_tensor": True, "show_progress_bar": False}
    embeddings: torch.Tensor = methods[case.kind](TEXTS, **options)
    return embeddings


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write_expected(path: Path, case: Case, embeddings: torch.Tensor) -> None:
    """expected.json, with one text or one embedding (8 decimals) per line."""
    rows = [json.dumps([round(x, 8) for x in row]) for row in embeddings.tolist()]
    texts = [json.dumps(text, ensure_ascii=False) for text in TEXTS]
    parts = [
        f'"kind": {json.dumps(case.kind)}',
        f'"prompt_name": {json.dumps(case.prompt_name)}',
        '"texts": [\n' + ",\n".join(texts) + "\n]",
        '"embeddings": [\n' + ",\n".join(rows) + "\n]",
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def write_case(case: Case) -> None:
    """Write <case>/model and <case>/expected.json; the embeddings are those of the directory read back."""
    directory = HERE / case.name
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        model = build(case, Path(scratch))
        model.save(str(directory / "model"), create_model_card=False)
    if case.layout == "legacy":
        make_legacy(directory / "model", case)
    elif case.layout == "plain":
        make_plain(directory / "model")
    reloaded = SentenceTransformer(str(directory / "model"), device="cpu", local_files_only=True)
    embeddings = embed(reloaded, case)
    if not torch.isfinite(embeddings).all():
        raise RuntimeError(f"{case.name}: the embeddings are not finite")
    alone = (embeddings - embed(reloaded, case, batch_size=1)).abs().max().item()
    if alone > 1e-5:
        raise RuntimeError(f"{case.name}: the embeddings depend on the batch (difference {alone})")
    if case.layout != "legacy":
        torch.testing.assert_close(embeddings, embed(model, case))
    write_expected(directory / "expected.json", case, embeddings)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    print(f"{case.name:28} {tuple(embeddings.shape)!s:10} {size / 1000:6.1f} kB")


def main() -> None:
    torch.set_num_threads(1)
    for case in CASES:
        write_case(case)
    write_json(HERE / "expected_losses.json", expected_losses())
    packages = ["sentence-transformers", "transformers", "tokenizers", "torch", "numpy", "scipy"]
    versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
    write_json(HERE / "versions.json", versions)


if __name__ == "__main__":
    main()
