"""Damages bytes: blindly, by lines, and, where they are JSON, by values, so that what is read stays JSON."""

import json
import random
from typing import Any

TOKENS: tuple[bytes, ...] = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\t", b"\n", b"\r", b"\r\n", b'"', b"'", b",", b"{", b"}", b"[", b"]", b":", b"\\", b" ",
    b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 5000, b"null", b"true", b'"\\ud800"', b"[" * 3000, b'{"a":' * 3000,
    "\u2028".encode(), "\x85".encode(), "\U0001f600".encode(), "\u202e".encode(), b"../", b"%s%n", b"a" * 300,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, float("nan"), float("inf"), "", " ", "x", "\ud800", "\x00", "../../etc", [], {}, [[]],
    [None], {"a": None}, ["x", "x"], "x" * 1000, -(2**63), 2**64, 1e308,
)  # fmt: skip


def mutated(draw: random.Random, seed: bytes, others: list[bytes]) -> bytes:
    """One to four kinds of damage."""
    out = seed
    for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
        if draw.random() < 0.4 and (changed := _by_value(draw, out)) is not None:
            out = changed
        else:
            out = draw.choice(BLIND)(draw, out, others)
    return out


def _flip(draw: random.Random, out: bytes, others: list[bytes]) -> bytes:
    if not out:
        return b"\x80"
    at = draw.randrange(len(out))
    return out[:at] + bytes([out[at] ^ (1 << draw.randrange(8))]) + out[at + 1 :]


def _insert(draw: random.Random, out: bytes, others: list[bytes]) -> bytes:
    at = draw.randint(0, len(out))
    return out[:at] + draw.choice(TOKENS) + out[at:]


def _cut(draw: random.Random, out: bytes, others: list[bytes]) -> bytes:
    return out[: draw.randint(0, len(out))]


def _remove(draw: random.Random, out: bytes, others: list[bytes]) -> bytes:
    one, other = sorted((draw.randint(0, len(out)), draw.randint(0, len(out))))
    return out[:one] + out[other:]


def _repeat(draw: random.Random, out: bytes, others: list[bytes]) -> bytes:
    one, other = sorted((draw.randint(0, len(out)), draw.randint(0, len(out))))
    return out[:other] + out[one:other] * draw.randint(1, 3) + out[other:]


def _splice(draw: random.Random, out: bytes, others: list[bytes]) -> bytes:
    other = draw.choice(others)
    return out[: draw.randint(0, len(out))] + other[draw.randint(0, len(other)) :]


def _lines(draw: random.Random, out: bytes, others: list[bytes]) -> bytes:
    """Doubles, drops or swaps whole lines."""
    lines = out.split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.randrange(3)
    if kind == 0:
        lines.insert(one, lines[other])
    elif kind == 1:
        del lines[one]
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


BLIND = (_flip, _insert, _cut, _remove, _repeat, _splice, _lines)


def _by_value(draw: random.Random, out: bytes) -> bytes | None:
    """JSON, or a line of JSON lines, with one of its values or keys replaced, removed or doubled; None for anything else."""
    lines = [out] if out[:1] == b"[" or b'{"data"' in out or b"\n" not in out.strip() else out.split(b"\n")
    at = draw.randrange(len(lines))
    try:
        item = json.loads(lines[at])
    except (ValueError, RecursionError):
        return None
    places = list(_places(item, 0))
    if not places:
        return None
    holder, key = draw.choice(places)
    kind = draw.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[str(draw.choice(VALUES))] = holder.pop(key)
    elif kind == 1:
        holder.append(holder[key])
    else:
        holder[key] = draw.choice(VALUES)
    lines[at] = json.dumps(item).encode()
    return b"\n".join(lines)


def _places(item: Any, depth: int) -> Any:
    """(container, key) of every value inside."""
    if depth > 50:
        return
    pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for key, value in list(pairs):
        yield item, key
        yield from _places(value, depth + 1)
