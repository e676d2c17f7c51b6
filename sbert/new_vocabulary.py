"""Another vocabulary for a model: the tokenizer that has it, and the embedding table that goes with it.

An uncased BERT vocabulary takes accents off by decomposing letters (NFD), which takes Hangul syllables apart as well. The
new tokenizer composes them again behind that (NFC), so that syllables are whole and a text without any is read just as
before. A BertTokenizer cannot be told so: the library rebuilds its normalizer from three words of tokenizer_config.json.
So the tokenizer becomes the library's general one, which keeps what tokenizer.json says, and for readers that insist on
rebuilding, strip_accents is false in tokenizer_config.json: for them Hangul is whole, too.

Tokens of ASCII alone are never added to a vocabulary that is extended, so English stays as it is, bit for bit.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer, normalizers
from tokenizers.models import WordPiece
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sbert.encode import tokenize
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.vocabulary_rows import new_rows, pieces_of
from sbert.word_alignment import both_ways
from sbert.wordpiece import count_words, learn_wordpieces

SPECIAL = ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token")


def backend_of(model: modelWithPooling, name: str) -> Any:
    """The tokenizer behind the model's. Raises RunError where it is not WordPiece."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None or not isinstance(backend.model, WordPiece):
        kind = type(backend.model).__name__ if backend else type(model.tokenizer).__name__
        raise RunError(f"--model {name}: its tokenizer is {kind}; only a WordPiece vocabulary can be renewed")
    return backend


def composing(normalizer: Any) -> Any:
    """The normalizer, with NFC behind it where it takes Hangul apart. Raises RunError where that does not help."""
    if normalizer is None or normalizer.normalize_str("각") == "각":
        return normalizer
    whole = normalizers.Sequence([normalizer, normalizers.NFC()])
    if whole.normalize_str("각") != "각":
        raise RunError("the tokenizer's normalizer changes Hangul in a way that NFC does not undo")
    return whole


def learn(texts: Iterable[str], backend: Any, size: int, min_frequency: int) -> list[str]:
    """At most ``size`` tokens for the words that ``backend`` cuts texts into, Hangul whole (sbert/wordpiece.py)."""
    words = count_words(texts, composing(backend.normalizer), backend.pre_tokenizer)
    return learn_wordpieces(words, size, min_frequency, backend.model.continuing_subword_prefix)


def merged(known: dict[str, int], learned: Sequence[str], special: Iterable[str], mode: str) -> list[str]:
    """Tokens in the order of their ids. extend: the known ones as they are, then what is new and not ASCII. replace: the
    known ones up to the last special one (so that those keep their ids), then what was learned."""
    order = sorted(known, key=known.__getitem__)
    if mode == "replace":
        order = order[: max(known[token] for token in special) + 1]
    before = set(order)
    return order + [t for t in learned if t not in before and (mode == "replace" or not t.isascii())]


def with_vocabulary(tokenizer: Any, tokens: Sequence[str]) -> PreTrainedTokenizerFast:
    """The tokenizer with other tokens, which everybody loads as it is (see the module's docstring)."""
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec["model"]["vocab"] = {token: i for i, token in enumerate(tokens)}
    whole = Tokenizer.from_str(json.dumps(spec))
    whole.normalizer = composing(tokenizer.backend_tokenizer.normalizer)
    return PreTrainedTokenizerFast(
        tokenizer_object=whole,
        **{name: getattr(tokenizer, name) for name in SPECIAL},
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        strip_accents=False,
    )


def renew(
    model: modelWithPooling,
    tokens: Sequence[str],
    init: str,
    *,
    seed: int = 0,
    translations: Sequence[tuple[str, str]] = (),
) -> dict[str, int]:
    """Gives a model these tokens, in place; how many rows were kept ("known") and how many made in which way.

    Rows of known tokens stay as they are, to the bit. init: one of sbert.vocabulary_rows.INITS. translations: (text in
    the known language, its translation into the new one).
    """
    old: Any = model.tokenizer
    known = old.get_vocab()
    new = with_vocabulary(old, tokens)
    fresh = [token for token in tokens if token not in known]
    ids = {token: i for i, token in enumerate(tokens)}
    parameter = model.model.get_input_embeddings().weight  # type: ignore[operator]
    table = parameter.detach().cpu().numpy().copy()
    said = _said(translations, old, new, [ids[t] for t in fresh]) if init == "translations" else None
    made = new_rows(
        table, [_pieces(token, old.backend_tokenizer, known) for token in fresh], said, init, seed
    )
    rows = np.empty((len(tokens), table.shape[1]), dtype=np.float32)
    made_rows = iter(made.rows)
    for i, token in enumerate(tokens):
        rows[i] = table[known[token]] if token in known else next(made_rows)
    model.model.resize_token_embeddings(len(tokens), mean_resizing=False)  # type: ignore[operator]
    with torch.no_grad():
        model.model.get_input_embeddings().weight.copy_(torch.from_numpy(rows))  # type: ignore[operator]
    model.tokenizer = new
    return {"known": len(tokens) - len(fresh), **made.made}


def _pieces(token: str, backend: Any, known: dict[str, int]) -> list[int]:
    """What the old tokenizer has for a new token: ids of pieces, unknown letters left out."""
    prefix = backend.model.continuing_subword_prefix
    word = token.removeprefix(prefix)
    word = backend.normalizer.normalize_str(word) if backend.normalizer else word
    return pieces_of(word, known, token.startswith(prefix), prefix)


def _said(pairs: Sequence[tuple[str, str]], old: Any, new: Any, wanted: Sequence[int]) -> csr_matrix:
    """(new tokens wanted, known tokens): which known tokens translate a new one, by parallel text."""
    original = _plain(old, [pair[0] for pair in pairs])
    translated = _plain(new, [pair[1] for pair in pairs])
    return both_ways(translated, original, (len(new), len(old)))[list(wanted)]


def _plain(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text without special ones."""
    special = set(tokenizer.all_special_ids)
    ids = tokenize(tokenizer, texts, 512).ids
    return [[i for i in row if i not in special] for row in ids]
