"""Every flag of train.py: one dataclass and its defaults. Torch-free."""

from dataclasses import dataclass, field
from typing import Any

from sbert.trains_on import EVERY_OBJECTIVE, IN_BATCH

POOLINGS = ("mean", "cls", "max", "mean_sqrt", "weighted_mean", "last")
CONCATENATIONS = ("u,v", "|u-v|", "u*v", "|u-v|,u*v", "u,v,u*v", "u,v,|u-v|", "u,v,|u-v|,u*v")
PER_STAGE = ("objective", "epochs", "batch_size", "lr", "head_lr", "warmup_ratio")


def _flag(group: str, text: str, default: Any = None, **more: Any) -> Any:
    value = {"default_factory": lambda: list(default)} if isinstance(default, list) else {"default": default}
    return field(**value, metadata={"group": group, "help": text, **more})


@dataclass
class Flags:
    """What a run is told. Values that may differ between the sets of ``--mix sequence`` are lists."""

    # model
    model: str = _flag("model", "minilm (packaged all-MiniLM-L6-v2), a directory, or a hub id", "minilm")
    arch: str = _flag(
        "model", "bi-encoder (two vectors) or cross-encoder (one score a pair)", "bi", choices=("bi", "cross")
    )
    head: str | None = _flag(
        "model",
        "what reads the pair: classificationHead, or the library's own head for this encoder; default: the "
        "model directory's, else classification",
        choices=("classification", "native"),
        arch="cross",
    )
    pooling: str | None = _flag(
        "model",
        "pooling of token vectors; default: the model directory's, else mean",
        choices=POOLINGS,
        arch="bi",
    )
    num_layers: int | None = _flag("model", "keep only the first N encoder layers", type=int, at_least=1)
    average_layers: int | None = _flag(
        "model",
        "token vectors are the mean of the last N layers before they are pooled (N = 4 or so: the paper's Avg. BERT "
        "embeddings; ModernBERT normalises its last state alone, so there the earlier ones weigh more); default: the "
        "model directory's, else 1",
        type=int,
        at_least=1,
        arch="bi",
    )
    max_length: int | None = _flag(
        "model",
        "tokens a text or, with --arch cross, a pair; longer ones are truncated; default: the model's own",
        type=int,
        at_least=3,
    )
    normalize: str = _flag(
        "model",
        "a layer that scales vectors to unit length: add (yes), drop (no), or what the "
        "model directory has; auto drops it for --objective classification, triplet and tsdae, whose "
        "features it would shrink, and for distill does as the --teacher has it",
        "auto",
        choices=("auto", "yes", "no"),
        arch="bi",
    )
    towers: str | None = _flag(
        "model",
        "one encoder for questions and passages, or two that start alike and are trained apart; default: the model "
        "directory's, else shared",
        choices=("shared", "separate"),
        arch="bi",
    )
    similarity: str | None = _flag(
        "model",
        "what retrieval compares vectors by, in training and after; default: the model directory's, else cosine",
        choices=("cosine", "dot"),
        arch="bi",
    )
    # data
    train_data: list[str] = _flag(
        "data",
        "sets to train on, or .tsv/.csv/.jsonl files with named columns, or .txt files of a text a line",
        ["samples"],
        nargs="+",
        metavar="D",
    )
    dev_data: list[str] | None = _flag(
        "data",
        "sets scored during training; default: the dev splits of the training sets",
        nargs="*",
        metavar="D",
    )
    eval_data: list[str] | None = _flag(
        "data",
        "sets scored before and after training (or with --eval-only); default: "
        "the test splits of the training sets",
        nargs="*",
        metavar="D",
    )
    data_dir: str | None = _flag(
        "data", "folder with the publishers' files; default: $SBERT_DATA, then downloads"
    )
    mix: str = _flag(
        "data",
        "several training sets: batches of all in proportion to their size, or in turn until one set is used up, or one "
        "set after the other",
        "proportional",
        choices=("proportional", "round-robin", "sequence"),
    )
    train_limit: int = _flag(
        "data",
        "rows of each training set (questions, of one for retrieval), drawn once with --seed (0: all)",
        0,
        type=int,
        at_least=0,
    )
    dev_limit: int = _flag(
        "data", "rows of each dev set, drawn once with seed 0 (0: all)", 2000, type=int, at_least=0
    )
    # objective
    objective: list[str] = _flag(
        "objective",
        "auto: classification for NLI; regression for STS and triplet for triplets, or, of a cross-encoder, bce "
        "and ranking; margin-mse for a teacher's margins; distill for parallel text; simcse for a .txt file. simcse and "
        "tsdae take the distinct texts of any set without their labels, of retrieval sets the passages",
        ["auto"],
        nargs="+",
        choices=("auto", *EVERY_OBJECTIVE),
        metavar="O",
    )
    teacher: str | None = _flag(
        "objective",
        "of distill: the model whose embeddings of the first text are learned, of both texts",
        needs=("distill",),
        arch="bi",
    )
    concat: str = _flag(
        "objective",
        "what the classifier sees of u and v (paper, Table 6)",
        "u,v,|u-v|",
        choices=CONCATENATIONS,
        needs=("classification",),
        arch="bi",
    )
    margin: float = _flag(
        "objective", "of the triplet objective", 1.0, type=float, at_least=0, needs=("triplet",)
    )
    distance: str = _flag(
        "objective",
        "of the triplet objective",
        "euclidean",
        choices=("euclidean", "manhattan", "cosine"),
        needs=("triplet",),
    )
    scale: float | None = _flag(
        "objective",
        "what similarities are multiplied by; default: 20 for cosent, ranking and simcse, 10 for ranking with --arch cross",
        type=float,
        above=0,
        needs=("cosent", "ranking", "simcse"),
    )
    deletion_ratio: float = _flag(
        "objective",
        "of tsdae: the probability with which a word (of the tokenizer: punctuation is one) is deleted; one of a text always "
        "stays",
        0.6,
        type=float,
        at_least=0,
        at_most=1,
        needs=("tsdae",),
    )
    num_negatives: int = _flag(
        "objective",
        "of the ranking objective: documents of the batch's other queries, drawn for each query",
        4,
        type=int,
        at_least=0,
        needs=("ranking",),
        arch="cross",
    )
    symmetric: bool = _flag(
        "objective",
        "ranking both ways: the passage of a question, and the question of a passage",
        False,
        needs=("ranking",),
        arch="bi",
    )
    positive_margin: float = _flag(
        "objective",
        "of mega-batch-margin: the similarity that a right passage is drawn to",
        0.8,
        type=float,
        needs=("mega-batch-margin",),
    )
    negative_margin: float = _flag(
        "objective",
        "of mega-batch-margin: the similarity that the nearest wrong passage is pushed below",
        0.3,
        type=float,
        needs=("mega-batch-margin",),
    )
    hard_negatives: int = _flag(
        "objective",
        "wrong passages of its own that a row brings into a batch, where the set has any, drawn anew each epoch",
        1,
        type=int,
        at_least=0,
        needs=IN_BATCH,
        arch="bi",
    )
    matryoshka: list[int] = _flag(
        "objective",
        "the loss summed over the first so many dimensions of the embeddings, such as 384 128 64",
        [],
        nargs="+",
        type=int,
        at_least=1,
        needs=(*IN_BATCH, "simcse"),
        arch="bi",
    )
    # optimisation
    epochs: list[int] = _flag(
        "optimisation",
        "passes over the training data (0: as in the paper, 4 for STS, else 1)",
        [0],
        nargs="+",
        type=int,
        at_least=0,
    )
    batch_size: list[int] = _flag(
        "optimisation",
        "examples (pairs, triplets) a micro-batch, which several processes share",
        [16],
        nargs="+",
        type=int,
        at_least=1,
    )
    accumulation: int = _flag("optimisation", "micro-batches an update", 1, type=int, at_least=1)
    cache_rows: int = _flag(
        "optimisation",
        "texts (pairs) that go through the encoder at a time, the batch's exact gradient in the memory of so few: "
        "the gradient cache (0: the whole batch at once)",
        0,
        type=int,
        at_least=0,
    )
    lr: list[float] = _flag(
        "optimisation", "peak learning rate of the encoder", [2e-5], nargs="+", type=float, above=0
    )
    head_lr: list[float] = _flag(
        "optimisation",
        "peak learning rate of the classifier, of a cross-encoder's head, or of what tsdae's decoder has of its own",
        [1e-3],
        nargs="+",
        type=float,
        above=0,
        needs_bi=("classification", "tsdae"),
    )
    weight_decay: float = _flag(
        "optimisation", "decoupled weight decay; not on biases and norms", 0.01, type=float, at_least=0
    )
    warmup_ratio: list[float] = _flag(
        "optimisation",
        "share of the updates in which the rate rises",
        [0.1],
        nargs="+",
        type=float,
        at_least=0,
        at_most=1,
    )
    max_grad_norm: float = _flag(
        "optimisation", "gradients are clipped to this norm (0: never)", 1.0, type=float, at_least=0
    )
    precision: str = _flag(
        "optimisation",
        "auto: bf16 or fp16 on CUDA, bf16 on a CPU that has it, else fp32; fp32 with --eval-only",
        "auto",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    batch_sampler: str = _flag(
        "optimisation",
        "length: batches of texts of like length; random: not; auto: length, or, where the batch is the negatives, "
        "no question and no passage twice in a batch; topics: the questions of a passage side by side, then others of its article",
        "auto",
        choices=("auto", "length", "random", "topics"),
    )
    seed: int = _flag(
        "optimisation",
        "of the order, the fresh classifier and dropout",
        42,
        type=int,
        at_least=0,
        at_most=2**64 - 1,
    )
    max_updates: int = _flag(
        "optimisation", "stop a stage after so many updates (0: all)", 0, type=int, at_least=0
    )
    # evaluation and saving
    eval_steps: float = _flag(
        "evaluation and saving",
        "updates between evaluations; below 1 a share of the stage (0: once an epoch)",
        0.0,
        type=float,
        at_least=0,
    )
    save_steps: float = _flag(
        "evaluation and saving",
        "updates between checkpoints, likewise (0: at evaluations)",
        0.0,
        type=float,
        at_least=0,
    )
    log_steps: int = _flag(
        "evaluation and saving", "updates between log lines and TensorBoard points", 50, type=int, at_least=1
    )
    save_limit: int = _flag("evaluation and saving", "checkpoints kept (0: all)", 2, type=int, at_least=0)
    select_on: str = _flag(
        "evaluation and saving",
        "metric to keep the best model by, such as "
        "stsb-dev/spearman_cosine; last: no selection; auto: the dev split of the (last) training "
        "set, else last",
        "auto",
        metavar="KEY",
    )
    patience: int = _flag(
        "evaluation and saving",
        "stop after so many evaluations without a better one (0: never)",
        0,
        type=int,
        at_least=0,
    )
    eval_batch_tokens: int = _flag(
        "evaluation and saving", "padded tokens a batch when encoding (0: by device)", 0, type=int, at_least=0
    )
    rerank: str = _flag(
        "evaluation and saving",
        "of ranking sets: every document, the positives an earlier stage missed as well (all), or only what it "
        "retrieved",
        "all",
        choices=("all", "retrieved"),
        arch="cross",
    )
    # run
    output_dir: str | None = _flag("run", "where everything is written; default: runs/NAME")
    run_name: str | None = _flag("run", "name of the run; default: made from model, data and time")
    resume: str | None = _flag(
        "run", "continue the run in this directory as if it had never stopped", metavar="RUN"
    )
    eval_only: bool = _flag("run", "score --model on --eval-data, train nothing", False)
    device: str = _flag("run", "auto, cpu, cuda, cuda:1", "auto")
    unpadded: str = _flag(
        "run",
        "all tokens of a batch in one row, without padding: on a CPU in training; on CUDA in half precision, in training "
        "only where attention dropout is 0 (auto); on a CPU always; on CUDA with attention dropout switched off (on)",
        "auto",
        choices=("auto", "on", "off"),
    )
    threads: int = _flag("run", "CPU threads (0: all)", 0, type=int, at_least=0)
    deterministic: bool = _flag(
        "run",
        "only algorithms that give the same bits every time: on a CPU they always do (same machine, same --threads); on "
        "a GPU it costs speed, and an operation that has none stops the run and is named",
        False,
    )
