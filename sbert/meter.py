"""What a training run reports while it goes on: means between two log lines, to the bar, the log and TensorBoard."""

import logging
from collections.abc import Callable, Sequence

from tqdm import tqdm

from sbert.source import Batch, TrainingSource

log = logging.getLogger("sbert")


class Meter:
    """Means between two log lines: loss, gradient norm, examples a second, padding."""

    def __init__(
        self,
        sources: Sequence[TrainingSource],
        scalars: Callable[[dict[str, float], int], None] | None,
        log_steps: int,
        first_update: int,
        last: int,
        packed: bool = False,
    ) -> None:
        """packed: batches are computed without their padding."""
        self.packed = packed
        self.scalars, self.log_steps, self.first_update, self.last = (
            scalars,
            max(1, log_steps),
            first_update,
            last,
        )
        self.truncated = sum(s.truncated_share * len(s.lengths) for s in sources) / sum(
            len(s.lengths) for s in sources
        )
        self._reset()

    def _reset(self) -> None:
        self.seconds = 0.0
        self.examples = self.real = self.padded = self.updates = 0
        self.loss = self.norm = 0.0

    def count(self, batch: Batch) -> None:
        self.examples += batch.size
        self.real += batch.real_tokens
        unpadded = self.packed and not batch.padding_computed
        self.padded += batch.real_tokens if unpadded else batch.padded_tokens

    def update(
        self, update: int, loss: float, norm: float, lr: float, scale: float, seconds: float, bar: tqdm
    ) -> None:
        self.updates += 1
        self.seconds += seconds  # of training alone: evaluations and checkpoints do not count
        self.loss += loss
        self.norm += norm
        if update % self.log_steps and update != self.last:
            return
        rate = self.examples / max(self.seconds, 1e-9)
        numbers = {
            "train/loss": self.loss / self.updates,
            "train/lr": lr,
            "train/grad_norm": self.norm / self.updates,
            "train/examples_per_second": rate,
            "train/padding_share": 1 - self.real / self.padded,
            "train/truncated_share": self.truncated,
            "train/loss_scale": scale,
        }
        if self.scalars:
            self.scalars(numbers, self.first_update + update)
        bar.set_postfix_str(f"loss {numbers['train/loss']:.4f}, {rate:.0f} examples/s")
        if bar.disable:
            log.info(
                "update %d/%d: loss %.4f, lr %.2e, gradient norm %.2f, %.0f examples/s, padding %.1f %%",
                self.first_update + update,
                self.first_update + self.last,
                numbers["train/loss"],
                lr,
                numbers["train/grad_norm"],
                rate,
                100 * numbers["train/padding_share"],
            )
        self._reset()
