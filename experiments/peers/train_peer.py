"""Train with sentence-transformers' own trainer and print one line of JSON: the peer's half of experiments.bench.

Only ever run by the peer's interpreter, never imported by this project, which neither needs nor uses that library.
Its environment (make bench-peers builds it in .venv-peers):

    python -m venv peers
    peers/bin/pip install torch==2.13.0
    peers/bin/pip install sentence-transformers==6.2.0 accelerate datasets

STS rows: CosineSimilarityLoss. NLI rows: SoftmaxLoss (u, v, |u-v|), without the model's Normalize, as on our side.
AdamW, linear warm-up and decay over all epochs (stopped after --updates), clip 1.0, no saving, no evaluation while
training. Timed is trainer.train() with its tokenizing, after a warm-up. bf16 is the trainer's bf16=True.
"""

import argparse
import json
import math
import tempfile
import time
from typing import Any

from datasets import Dataset, disable_progress_bars
from peer_model import load_model, parser, read_rows, setting, spearman, wait_for
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss, SoftmaxLoss
from transformers import TrainerCallback, set_seed

WARM_UP_UPDATES = 2


class StopAfter(TrainerCallback):
    """Ends training after so many updates; max_steps would also shorten the learning rate schedule."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= self.updates:
            control.should_training_stop = True


def arguments() -> argparse.Namespace:
    out = parser(__doc__)
    out.add_argument("--epochs", type=int, default=1, help="of the learning rate schedule")
    out.add_argument("--updates", type=int, required=True, help="stop after so many")
    out.add_argument("--lr", type=float, default=2e-5)
    out.add_argument("--weight-decay", type=float, default=0.01)
    out.add_argument("--warmup-ratio", type=float, default=0.1)
    out.add_argument("--seed", type=int, default=42)
    return out.parse_args()


def build_trainer(
    args: argparse.Namespace, task: str, columns: dict[str, list[Any]], updates: int, scratch: str
) -> tuple[SentenceTransformerTrainer, SentenceTransformer]:
    set_seed(args.seed)
    model = load_model(args, drop_normalize=task == "nli")
    if task == "nli":
        loss = SoftmaxLoss(model, model.get_embedding_dimension(), num_labels=3)
    else:
        loss = CosineSimilarityLoss(model)
    named = {"sentence1": columns["first"], "sentence2": columns["second"], "label": columns["labels"]}
    total = args.epochs * math.ceil(len(columns["labels"]) / args.batch_size)
    options = SentenceTransformerTrainingArguments(
        output_dir=scratch,
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        learning_rate=args.lr,
        weight_decay=args.weight_decay,
        warmup_steps=int(total * args.warmup_ratio),
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        bf16=args.precision == "bf16",
        seed=args.seed,
        use_cpu=args.device == "cpu",
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=options,
        train_dataset=Dataset.from_dict(named),
        loss=loss,
        callbacks=[StopAfter(updates)],
    )
    return trainer, model


def main() -> None:
    args = arguments()
    disable_progress_bars()
    content = read_rows(args.rows)
    task, columns = content["task"], content["train"]
    with tempfile.TemporaryDirectory() as scratch:
        first = {name: values[: WARM_UP_UPDATES * args.batch_size] for name, values in columns.items()}
        build_trainer(args, task, first, WARM_UP_UPDATES, scratch)[0].train()
        trainer, model = build_trainer(args, task, columns, args.updates, scratch)
        wait_for(args.device)
        started = time.perf_counter()
        trainer.train()
        wait_for(args.device)
        seconds = time.perf_counter() - started
    rows, updates = len(columns["labels"]), trainer.state.global_step
    epochs, within = divmod(updates, math.ceil(rows / args.batch_size))
    count = epochs * rows + within * args.batch_size
    measured = {
        "count": count,
        "updates": updates,
        "seconds": seconds,
        "per_second": count / seconds,
        "quality": spearman(model, content["dev"]),
    }
    print(json.dumps(measured | setting(args)), flush=True)


if __name__ == "__main__":
    main()
