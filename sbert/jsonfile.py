"""JSON files: read with errors that name the file, written so that every reader takes them (no bare NaN)."""

import json
import math
from pathlib import Path
from typing import Any

from sbert.errors import RunError


def read_json(path: Path, kind: type = dict) -> Any:
    """Raises RunError, naming the file, when it is missing, not JSON, or not a ``kind`` (dict, list) at the top."""
    try:
        value = json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not a JSON file: {error}") from None
    except RecursionError:
        raise RunError(f"{path}: not a JSON file: nested too deeply") from None
    if not isinstance(value, kind):
        raise RunError(f"{path}: holds a {type(value).__name__}, expected a {kind.__name__}")
    return value


def to_json(value: Any) -> str:
    """Indented UTF-8 text; a number that is not finite becomes null, because JSON has no word for it."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
