"""classificationHead: the network a cross-encoder puts on its encoder, the one of ElectraForSequenceClassification."""

from typing import Any

import torch
from torch import Tensor, nn

# where configs of one family or another keep the dropout of their classifier, the most specific name first
DROPOUT_NAMES = (
    "classifier_dropout",  # BERT, RoBERTa, XLM-R, ELECTRA, ModernBERT
    "classifier_dropout_prob",  # ALBERT
    "seq_classif_dropout",  # DistilBERT
    "cls_dropout",  # DeBERTa
    "hidden_dropout_prob",  # what most fall back on when the first is None
    "hidden_dropout",
    "summary_last_dropout",  # XLNet, XLM; ELECTRA has it for another head, so it comes after hidden_dropout_prob
    "dropout",
    "dropout_rate",  # T5
    "resid_pdrop",  # GPT-2
)


def dropout_of(config: Any) -> float:
    """The classifier's dropout rate in the config of any family; 0.1 where none of the names is known."""
    for name in DROPOUT_NAMES:
        value = getattr(config, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return 0.1


class classificationHead(nn.Module):  # noqa: N801  (the name the write-up gave it)
    """``out_proj(dropout(gelu(dense(dropout(x)))))`` of the first token, (B, T, D) -> (B, K).

    A (B, D) input is the token already chosen: the cross-encoder picks the first *unmasked* one, so that left padding
    is right too. config: hidden_size D, num_labels K, a dropout rate (dropout_of), and, if there is one, the
    initializer_range of the family (else 0.02). Parameter names are those of ElectraForSequenceClassification.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(dropout_of(config))
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)
        for layer in (self.dense, self.out_proj):
            nn.init.normal_(layer.weight, std=getattr(config, "initializer_range", None) or 0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        token = hidden[:, 0] if hidden.dim() == 3 else hidden
        return self.out_proj(self.dropout(torch.nn.functional.gelu(self.dense(self.dropout(token)))))
