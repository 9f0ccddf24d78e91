"""Changes one value in a msgpack tree: bytes that are changed blindly are nearly always refused by the first reader."""

import random
from collections.abc import Iterator

import msgspec

VALUES = (
    None, True, 0, 1, -1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, -(2**63), 0.0, 1.5, -1e300, 1.7e308, float("nan"),
    float("inf"), "", "x", "é" * 300, "\x1b[2J", "/", "train", "done", b"", b"\x00" * 16, b"\xff" * 32, [], {}, [[]],
)  # fmt: skip


def mutated(data: bytes, prefix: int, rng: random.Random) -> bytes | None:
    """`data` with one value replaced, taken out, repeated or damaged; None if what is behind `prefix` is no msgpack."""
    try:
        root = [msgspec.msgpack.decode(data[prefix:])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    holder, key = rng.choice(list(_places(root)))
    match rng.randrange(4):
        case 0 if holder is not root:
            del holder[key]
        case 1 if isinstance(holder, list) and holder is not root:
            holder.insert(key, holder[key])
        case 2 if isinstance(holder[key], bytes):
            holder[key] = _damaged(holder[key], rng)
        case _:
            holder[key] = rng.choice(VALUES)
    return data[:prefix] + msgspec.msgpack.encode(root[0])


def _places(holder: list | dict) -> Iterator[tuple[list | dict, int | str]]:
    """(container, key) of each value; maps have few of their own in our messages."""
    for key, value in list(enumerate(holder) if isinstance(holder, list) else holder.items()):
        yield holder, key
        if isinstance(value, list | dict):
            yield from _places(value)


def _damaged(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.randrange(9)) + data[start + rng.randrange(9) :]
