"""Checkpoints: everything a run needs to go on as if it had never stopped, written whole or not at all.

checkpoints/update-00000120/
    state.pt       weights, optimizer, scaler, random states, progress (torch.save; read with weights_only)
    state.json     {"sha256": of state.pt, "progress": ...}, the last file written
"""

import errno
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.files import sha256_of
from sbert.atomic import atomic_directory, remove_directory, sweep
from sbert.errors import RunError
from sbert.jsonfile import to_json


def random_states() -> dict[str, Any]:
    """State of every generator a run may draw from, in types that weights_only loading takes."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # type: ignore[misc]
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, [int(k) for k in keys], int(position), int(has_gauss), float(cached)],
        "python": random.getstate(),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), position, has_gauss, cached))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


def save_checkpoint(
    folder: Path, update: int, parts: dict[str, Any], progress: dict[str, Any], limit: int
) -> Path:
    """Writes one checkpoint and prunes the oldest beyond ``limit`` (0: keep all). Raises RunError on a full disk.

    parts: whatever has a ``state_dict`` (weights, optimizer, scaler); random states are added here.
    """
    target = folder / f"update-{update:08d}"
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"random": random_states(), "progress": progress}
    with atomic_directory(target, ("state.json",)) as temporary:
        try:
            torch.save(state, temporary / "state.pt")
        except RuntimeError as error:  # torch's writer says so in words of its own when the disk is full
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, writing state.pt") from error
        (temporary / "state.json").write_text(
            to_json({"sha256": sha256_of(temporary / "state.pt"), "progress": progress}), encoding="utf8"
        )
    if limit:
        prune(folder, limit)
    return target


def prune(folder: Path, limit: int) -> None:
    """Removes all but the newest ``limit`` checkpoints, and what a killed run left half written or half removed."""
    sweep(folder)
    for old in list_checkpoints(folder)[:-limit]:
        try:
            remove_directory(old)
        except OSError as error:
            raise RunError(f"{old}: cannot be removed: {error.strerror}") from None


def list_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first; temporary and foreign names are passed over."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if re.fullmatch(r"update-\d{8,}", p.name))


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Reads and verifies one checkpoint. Raises RunError when it is damaged, naming both hashes."""
    try:
        expected = json.loads((path / "state.json").read_text())["sha256"]
        found = sha256_of(path / "state.pt")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: not a whole checkpoint: {error}") from None
    if found != expected:
        raise RunError(
            f"{path}/state.pt is damaged: sha256 is {found}, state.json says {expected}; "
            "remove this folder to resume from the checkpoint before it"
        )
    try:
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # pickles other than of tensors, and whatever else is no checkpoint of ours
        # torch goes on with advice to load it all the same
        reason = str(error).splitlines()[0].partition(" (1) ")[0]
        raise RunError(f"{path}/state.pt: not a checkpoint: {reason}") from None
    if not isinstance(state, dict) or not isinstance(state.get("progress"), dict):
        raise RunError(f"{path}/state.pt: not a checkpoint: no progress in it")
    return state
