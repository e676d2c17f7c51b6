"""Word vectors from a text file as an encoder (SBERT paper, table 1, "Avg. GloVe embeddings"; table 7, first row).

    python train.py --eval-only --model glove.6B.300d.txt.gz --eval-data stsb sts12
    model = modelWithPooling.from_pretrained("crawl-300d-2M.vec")

The file: ``word v1 ... vD`` a line (GloVe), or the same after a first line "N D" (fastText, word2vec); UTF-8, gzipped
or not, named .txt or .vec. A word may hold spaces (glove.840B has some): the last D fields are the vector. Texts are
lower-cased and cut at blanks and around punctuation; a word of the file with capitals stands for its lower-case form
where the file lacks that, and of two lines for one word the first counts. Unknown words are left out of the pooling, so
a text that has no others gets zeros.

Saved by save_pretrained, such a model is a Hugging Face directory of a model type that this project registers: it loads
here again, not in sentence-transformers.
"""

import gzip
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import ModelOutput

from sbert.errors import RunError

SUFFIXES = (".txt", ".txt.gz", ".vec", ".vec.gz")
PAD, UNKNOWN = "[PAD]", "[UNK]"  # ids 0 and 1, with capitals as no word has; their vectors are zeros
SPECIAL = 2  # how many
MOST_WORDS = 10_000  # of a text: there are no positions to run out of
ROWS = 1 << 16  # a new matrix has so many, and doubles when it is full


class WordVectorsConfig(PreTrainedConfig):
    """vocab_size: words and the special two. hidden_size: D."""

    model_type = "sbert-word-vectors"
    vocab_size: int = SPECIAL
    hidden_size: int = 1
    num_hidden_layers: int = 0
    pad_token_id: int | None = 0


@dataclass
class WordVectorsOutput(ModelOutput):
    """last_hidden_state: (B, T, D). attention_mask: (B, T), 0 at padding and at unknown words."""

    last_hidden_state: Tensor | None = None
    attention_mask: Tensor | None = None


class WordVectors(PreTrainedModel):
    """A table of word vectors with the interface of an encoder."""

    config_class = WordVectorsConfig
    base_model_prefix = "vectors"
    _input_embed_layer = "words"

    def __init__(self, config: WordVectorsConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **unused: Any) -> WordVectorsOutput:
        """input_ids, attention_mask: (B, T)."""
        known = attention_mask.masked_fill(input_ids < SPECIAL, 0)
        return WordVectorsOutput(last_hidden_state=self.words(input_ids), attention_mask=known)

    def set_attn_implementation(self, *kind: Any, **more: Any) -> None:
        """Nothing to choose: there is no attention."""


AutoConfig.register(WordVectorsConfig.model_type, WordVectorsConfig, exist_ok=True)
AutoModel.register(WordVectorsConfig, WordVectors, exist_ok=True)


def is_vector_file(name: str | Path) -> bool:
    """Whether ``--model`` names a file of word vectors and not a directory or a hub id."""
    return str(name).endswith(SUFFIXES) and not Path(name).is_dir()


def load_vectors(path: Path) -> tuple[WordVectors, PreTrainedTokenizerFast]:
    """The encoder and the tokenizer of a file. Raises RunError with file and line where it is malformed."""
    words, matrix = read_vectors(path)
    config = WordVectorsConfig(vocab_size=len(matrix), hidden_size=matrix.shape[1])
    with torch.device("meta"):  # the matrix may be gigabytes: no random one beside it
        model = WordVectors(config)
    model.words.weight = nn.Parameter(torch.from_numpy(matrix))
    return model.eval(), word_tokenizer(words)


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Lower case, cut at blanks and around punctuation; ids from SPECIAL on in the order of ``words``."""
    ids = {PAD: 0, UNKNOWN: 1, **{word: i for i, word in enumerate(words, start=SPECIAL)}}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=MOST_WORDS,
        model_input_names=["input_ids", "attention_mask"],
    )


def read_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """Lower-case words, and their vectors (SPECIAL + N, D) fp32 with the special rows first.

    Read line by line into one growing matrix. Raises RunError, naming file and line, on a line that is not a word and D
    finite numbers, on a first line "N D" that the rest does not keep, and on a file that is damaged or empty.
    """
    rows: dict[str, int] = {}
    exact: set[str] = set()  # words whose line has their lower-case form itself
    matrix = np.zeros((0, 0), dtype=np.float32)
    promised: tuple[int, int] | None = None
    count = 0
    for line, fields in _lines(path):
        if line == 1 and len(fields) == 2 and all(field.isdecimal() and len(field) < 19 for field in fields):
            promised = int(fields[0]), int(fields[1])
            continue
        if not count:
            width = promised[1] if promised else len(fields) - 1
            if width < 1:
                raise RunError(f"{path}:{line}: {_shown(fields)} is no word and its vector")
            if len(fields) <= width:  # before so much memory is asked for
                raise RunError(
                    f"{path}:{line}: {len(fields)} fields, {_shown(fields)}; need a word and {width} numbers"
                )
            matrix = np.zeros((ROWS, width), dtype=np.float32)
        count += 1
        width = matrix.shape[1]
        word = " ".join(fields[:-width])
        if not word:
            raise RunError(
                f"{path}:{line}: {len(fields)} fields, {_shown(fields)}; need a word and {width} numbers"
            )
        key = word.lower()
        if key in rows and (key in exact or word != key):
            continue  # a second line for the word
        row = rows.setdefault(key, SPECIAL + len(rows))
        if word == key:
            exact.add(key)
        if row == len(matrix):
            matrix.resize((2 * row, width), refcheck=False)
        matrix[row] = _numbers(path, line, fields[-width:])
    if not count:
        raise RunError(f"{path}: no word vectors in it")
    if promised and promised[0] != count:
        raise RunError(f"{path}: its first line says {promised[0]:,} words, {count:,} follow")
    matrix.resize((SPECIAL + len(rows), matrix.shape[1]), refcheck=False)
    return list(rows), matrix


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines, from 1, cut at single spaces. Only LF ends a line: words hold U+0085 and U+2028."""
    opened = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rb") as file:
            for number, block in enumerate(file, start=1):
                text = block.decode("utf-8-sig" if number == 1 else "utf-8")  # some editors put a BOM first
                yield number, text.rstrip("\r\n ").split(" ")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}:{number}: not UTF-8 (byte 0x{error.object[error.start]:02x})") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RunError(f"{path}: not a whole gzip file ({error})") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None


def _numbers(path: Path, line: int, fields: list[str]) -> np.ndarray:
    """(D,) fp32, all of them finite."""
    try:
        values = [_number(field) for field in fields]
    except ValueError:
        wrong = next(field for field in fields if not _is_number(field))
        raise RunError(f"{path}:{line}: {wrong!r} is not a number") from None
    with np.errstate(over="ignore"):
        numbers = np.array(values, dtype=np.float32)
    if not np.isfinite(numbers).all():
        wrong = next(f for f, x in zip(fields, numbers, strict=True) if not math.isfinite(x))
        raise RunError(f"{path}:{line}: {wrong!r} is not a finite number of single precision")
    return numbers


def _is_number(field: str) -> bool:
    try:
        _number(field)
    except ValueError:
        return False
    return True


def _number(field: str) -> float:
    """``float`` takes 1_0 for ten; no publisher writes that. Raises ValueError."""
    if "_" in field:
        raise ValueError
    return float(field)


def _shown(fields: list[str]) -> str:
    text = repr(" ".join(fields))
    return text if len(text) <= 60 else text[:57] + "..."
