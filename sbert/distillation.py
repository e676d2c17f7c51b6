"""Multilingual knowledge distillation (Reimers and Gurevych 2020, arXiv 2004.09813): a student learns a teacher's space.

    python train.py --model my-korean-start --teacher minilm --objective distill --train-data tatoeba jhe --eval-data tatoeba

The teacher, a bi-encoder that reads the first language of a parallel set, embeds its sentences once, in fp32. The student
reads both languages, and both of its vectors are drawn to the teacher's: a translation to where its original is, and the
original to where it was. Teacher and student end alike: where the teacher's vectors have unit length the student's have
as well (--normalize auto), since then the squared distance is about direction alone and nothing is spent on length.

Shape letters: N distinct texts, B batch, D embedding width.
"""

import functools
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from data import DataSet
from data.files import atomic_path, sha256_of
from data.locate import cache
from heads.embedding import Normalize
from sbert import distributed
from sbert.encoder import find_model
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.objectives import Objective
from sbert.source import Batch, Source

log = logging.getLogger("sbert")
CHUNK = 65536  # texts embedded between two writes


@functools.lru_cache(maxsize=1)
def load_teacher(name: str, device: torch.device) -> modelWithPooling:
    """The teacher, loaded once for all the sets of a run. Raises RunError where --teacher is no bi-encoder."""
    try:
        return modelWithPooling.from_pretrained(name, device=device).requires_grad_(False)
    except RunError as error:
        raise RunError(f"--teacher {name}: {error}") from None


@functools.cache
def fingerprint(name: str) -> str:
    """sha256 of everything in a teacher's directory (or vector file) that decides its vectors: names and contents."""
    try:
        place = find_model(name)
    except RunError as error:
        raise RunError(f"--teacher {name}: {error}") from None
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for path in files:
        if path.suffix != ".md" and not path.name.startswith("."):
            digest.update(f"{path.relative_to(place)} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def ends_in_unit_length(model: modelWithPooling) -> bool:
    return len(model.layers) > 0 and isinstance(model.layers[-1], Normalize)


def seen_by(teacher: modelWithPooling) -> list[str]:
    """What a student of this teacher has seen at second hand: the sets that the teacher was trained on."""
    own = ["minilm"] if teacher.facts.get("source") == "minilm" else []
    return [*own, *teacher.facts.get("trained_on", [])]


def check_student(name: str, teacher: modelWithPooling, student: modelWithPooling) -> None:
    """Raises RunError where the student can never be where the teacher is."""
    if teacher.width != student.width:
        raise RunError(
            f"--teacher {name}: its embeddings have {teacher.width} dimensions, the student's {student.width}"
        )
    unit, own = ends_in_unit_length(teacher), ends_in_unit_length(student)
    if own and not unit:
        raise RunError(
            f"--teacher {name}: its embeddings have lengths of their own and the student's have length 1: "
            "--normalize no (or auto) takes the student's Normalize away"
        )
    if unit and not own:
        log.warning(
            "the student has to learn that the teacher's vectors have length 1 (--normalize yes says so)"
        )


def teacher_vectors(name: str, teacher: modelWithPooling, texts: Sequence[str]) -> np.ndarray:
    """(N, D) fp32 of distinct texts, read-only and memory-mapped; embedded once and kept in the download cache, under a
    name made of the teacher's fingerprint, the texts and what computes them."""
    key = hashlib.sha256(f"{fingerprint(name)} {torch.__version__} {teacher.device.type}".encode())
    for text in texts:
        key.update(b"\0" + text.encode())
    path = cache(None) / "teachers" / f"{key.hexdigest()[:32]}.npy"
    missing = _stored(path, (len(texts), teacher.width)) is None
    # encoding is work of all processes, also where one has a cache of its own
    if distributed.most(int(missing)):
        log.info("%s embeds %s texts, kept in %s", name, f"{len(texts):,}", path)
        try:
            _embed(path, teacher, texts)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
    vectors = _stored(path, (len(texts), teacher.width))
    if vectors is None:
        raise RunError(f"{path}: cannot be read back")
    return vectors


def _stored(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The vectors of an earlier run; None where there are none, or the file is not whole."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return vectors if vectors.shape == shape and vectors.dtype == np.float32 else None


def _embed(path: Path, teacher: modelWithPooling, texts: Sequence[str]) -> None:
    with atomic_path(path) as temporary:
        # not through a memory map: on a full disk that is a signal, no error
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(texts), teacher.width)}
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(texts), CHUNK):
                vectors = teacher.encode(texts[start : start + CHUNK], progress=True)
                file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())


@dataclass
class DistillationSource(Source):
    """A parallel set as the loop takes it. vectors: (N, D), the teacher's; places[row]: which of them is a row's."""

    vectors: np.ndarray
    places: np.ndarray

    @classmethod
    def taught(
        cls, dataset: DataSet, objective: Objective, student: modelWithPooling, name: str
    ) -> "DistillationSource":
        """Embeds the first text of every row by the teacher called ``name``, unless an earlier run did."""
        teacher = load_teacher(name, student.device)
        check_student(name, teacher, student)
        source = Source.build(dataset, objective, student)
        place = {text: i for i, text in enumerate(dict.fromkeys(e.texts[0] for e in dataset.examples))}
        vectors = teacher_vectors(name, teacher, list(place))
        places = np.array([place[example.texts[0]] for example in dataset.examples])
        return cls(
            **{f.name: getattr(source, f.name) for f in fields(source)}, vectors=vectors, places=places
        )

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        """As of any pairs, with the teacher's vectors (B, D) as the answer."""
        answer = torch.from_numpy(np.array(self.vectors[self.places[list(rows)]]))
        return replace(super().batch(rows, device), answer=answer.to(device, non_blocking=True))
