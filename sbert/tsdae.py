"""TSDAE (Wang, Reimers and Gurevych 2021, arXiv 2104.06979): a model adapted to a domain by texts alone.

    python train.py --objective tsdae --train-data nfcorpus --epochs 4 --lr 1e-4
    python train.py --objective tsdae --train-data sentences.txt --dev-data stsb --select-on stsb-dev/spearman_cosine

Words of a text are deleted, what is left is encoded, and a decoder that sees nothing but this one vector (through
cross-attention) and the tokens before says the whole text again, token by token: what the text is about has to be in the
vector. The decoder is the encoder again, made causal: all weights that both have are the same tensors; cross-attention and
the layer before the vocabulary are the decoder's own, start at random and are thrown away after training.

A text's loss needs no other text, so it is computed where the text is encoded: the decoder runs in the same parts of a
batch, under the gradient cache too, and of several processes each decodes its share.

Shape letters: B texts, T tokens of what is left, S tokens of a text, D embedding width.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from data import DataSet
from sbert.chunks import Chunks, Features, count_of, padded_tokens, parts_of, trim
from sbert.encode import pad, words_of
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.objectives import Encode, SiameseObjective
from sbert.precision import in_fp32
from sbert.source import Batch, Source

IGNORED = -100  # the label of padding
FAMILIES = (
    "bert",
    "roberta",
    "xlm-roberta",
    "electra",
)  # whose layers transformers has with cross-attention as well


class TSDAE(SiameseObjective):
    """The mean negative log-likelihood of the tokens of a micro-batch's texts, each given the vector of what deletion has
    left of its text and the tokens before.

    deletion_ratio: the probability with which a word is deleted. features: one column with, besides what is left, the
    text: target_ids, target_mask (B, S). Raises RunError where the encoder cannot be made a decoder.
    """

    tasks = ("text",)
    columns = 1

    def __init__(self, model: nn.Module, deletion_ratio: float = 0.6) -> None:
        super().__init__(model)
        self.deletion_ratio = deletion_ratio
        self.decoder = decoder_of(self.model)

    def encoding(self) -> nn.Module:
        return self  # what is gathered of several processes are losses

    def plan(self, features: Features, rows: int = 0) -> list[tuple[Encode, Chunks]]:
        """Texts sorted by their length, in parts; both sides of a part as wide as their longest rows."""
        (column,) = features
        lengths = column["target_mask"].sum(1)
        device = self.model.device
        count = count_of(len(lengths), rows) if rows else parts_of(lengths.tolist(), device)
        order = lengths.argsort(stable=True)
        parts = []
        for chosen in order.chunk(count):
            left = trim({key: column[key][chosen] for key in ("input_ids", "attention_mask")})
            text = trim({key: column["target_" + key][chosen] for key in ("ids", "mask")}, "mask")
            parts.append({**left, "target_ids": text["ids"], "target_mask": text["mask"]})
        return [(self.likelihoods, Chunks(parts, order, [len(lengths)]))]

    def likelihoods(self, part: dict[str, Tensor]) -> Tensor:
        """A part -> (B, 2): of each text the negative log-likelihoods of its tokens after the first, summed, and how many
        these are, fp32."""
        left = {key: part[key] for key in ("input_ids", "attention_mask")}
        vector = self.model(**left)["sentence_embedding"].to(self.decoder.dtype)
        ids, mask = part["target_ids"], part["target_mask"]  # padded on the right: no token sees padding
        logits = self.decoder(
            input_ids=ids[:, :-1],
            encoder_hidden_states=vector[:, None],
            use_cache=False,
        ).logits
        wanted = ids[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORED)
        with torch.autocast(logits.device.type, enabled=False):
            each = F.cross_entropy(
                logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none"
            )
        return torch.stack([each.view_as(wanted).sum(1), mask[:, 1:].sum(1).float()], 1)

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        summed, tokens = representations[0].sum(0)
        return {"loss": summed / tokens}


def check_decodes(model: modelWithPooling) -> None:
    """Raises RunError where no decoder can be made of an encoder, or its vector does not fit into one."""
    config: Any = getattr(model.model, "config", None)
    family = getattr(config, "model_type", type(model.model).__name__)
    if family not in FAMILIES:
        raise RunError(
            f"--objective tsdae: {family} encoders make no decoder (allowed: {', '.join(FAMILIES)})"
        )
    if config.is_decoder:
        raise RunError("--objective tsdae: this model is a decoder already (is_decoder in its config.json)")
    if model.width != config.hidden_size:
        raise RunError(
            f"--objective tsdae: the embeddings have {model.width} dimensions, and a decoder of this encoder reads "
            f"{config.hidden_size}"
        )


def decoder_of(model: modelWithPooling) -> Any:
    """A causal language model with cross-attention (transformers'), whose weights are the encoder's own tensors as far as
    the encoder has them. Raises RunError as ``check_decodes``."""
    check_decodes(model)
    encoder: Any = model.model
    config = copy.deepcopy(encoder.config)
    config.is_decoder = config.add_cross_attention = config.tie_word_embeddings = True
    decoder = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    base = decoder.base_model
    own = dict(base.named_parameters())
    for name, weight in encoder.named_parameters():
        if name in own:
            place, _, last = name.rpartition(".")
            setattr(base.get_submodule(place), last, weight)
    decoder.tie_weights()
    if hasattr(base, "embeddings_project"):  # ELECTRA with narrow embeddings
        base.embeddings_project.register_forward_hook(in_fp32)
    return decoder.to(model.device)


def delete_words(words: Sequence[int | None], ratio: float) -> list[int]:
    """Which tokens of a text are left, in order, when each word is deleted with probability ``ratio``; of a text with
    words, one is always left. words: of each token the number of its word, None of special tokens, which stay. Draws from
    torch's generator of the CPU."""
    known = sorted({word for word in words if word is not None})
    stays = torch.rand(len(known)) >= ratio
    if known and not stays.any():
        stays[torch.randint(len(known), ())] = True
    left = {word for word, stay in zip(known, stays.tolist(), strict=True) if stay}
    return [place for place, word in enumerate(words) if word is None or word in left]


@dataclass
class DenoisingSource(Source):
    """A set of texts as the loop takes it: words are deleted anew whenever a text comes. words[row]: see delete_words."""

    words: list[list[int | None]]

    @classmethod
    def of_texts(cls, dataset: DataSet, objective: TSDAE) -> "DenoisingSource":
        """Raises RunError as Source.build does, where the tokenizer does not tell words, and on a text of one token, which
        leaves nothing to say."""
        source = Source.build(dataset, objective, objective.model)
        if min(source.lengths) < 2:
            text = dataset.examples[source.lengths.index(min(source.lengths))].texts[0]
            raise RunError(f"{source.name}: {text!r} is one token or none, and --objective tsdae needs two")
        texts = [example.texts[0] for example in dataset.examples]
        model = objective.model
        assert model.tokenizer is not None
        words = words_of(model.tokenizer, texts, model.max_length, lower=model.description.do_lower_case)
        return cls(**{f.name: getattr(source, f.name) for f in fields(source)}, words=words)

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        """features: what is left of these texts, and the texts."""
        assert isinstance(self.objective, TSDAE)
        texts = [self.columns[0][row] for row in rows]
        stays = [delete_words(self.words[row], self.objective.deletion_ratio) for row in rows]
        left = [[text[place] for place in places] for text, places in zip(texts, stays, strict=True)]
        target = pad(texts, self.pad_id)
        tensors = {
            **pad(left, self.pad_id, self.side),
            "target_ids": target["input_ids"],
            "target_mask": target["attention_mask"],
        }
        features = [{key: value.to(device, non_blocking=True) for key, value in tensors.items()}]
        lengths = [len(text) for text in texts]
        count = parts_of(lengths, device)
        padded = padded_tokens(lengths, count)
        return Batch(features, None, len(rows), sum(lengths), padded, padding_computed=True)
