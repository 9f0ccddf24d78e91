"""Counts what a msgpack message claims to hold, without building any of it: a byte can claim a value, and a value costs
a reader far more than a byte.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from typing import NamedTuple


class _Kinds(NamedTuple):
    """By a value's first byte."""

    sizes: bytearray
    """Bytes of the value, but for what a length counts and what is in a container."""
    inside: bytearray
    """Values in a container of so few that the first byte says it."""
    widths: bytearray
    """Bytes of the length behind the first byte; 0: there is none."""
    each: bytearray
    """Values for each that the length counts; 0: it counts bytes."""


def _kinds() -> _Kinds:
    sizes, inside, widths, each = bytearray(b"\1") * 256, bytearray(256), bytearray(256), bytearray(256)
    for few in range(16):
        inside[0x80 + few], inside[0x90 + few] = 2 * few, few  # map, list
    for few in range(32):
        sizes[0xA0 + few] = 1 + few  # text
    for first, contents in ((0xCA, (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)), (0xD4, (2, 3, 5, 9, 17))):  # numbers, extensions
        for kind, content in enumerate(contents, first):
            sizes[kind] = 1 + content
    long = {0xC4: (0, 0), 0xC5: (1, 0), 0xC6: (2, 0), 0xD9: (0, 0), 0xDA: (1, 0), 0xDB: (2, 0)}  # bytes, texts
    long |= {0xDC: (1, 1), 0xDD: (2, 1), 0xDE: (1, 2), 0xDF: (2, 2)}  # lists, maps
    long |= {0xC7: (0, 0), 0xC8: (1, 0), 0xC9: (2, 0)}  # extensions
    for kind, (power, values) in long.items():
        widths[kind], each[kind] = 1 << power, values
        sizes[kind] = 1 + widths[kind] + (0xC7 <= kind <= 0xC9)  # an extension's type is a byte more
    return _Kinds(sizes, inside, widths, each)


_KINDS = _kinds()


def count_values(blob: bytes, most: int) -> int:
    """Values in `blob`: each list, map, key and what is in them is one.

    Gives up above `most`, at the header that says so, and where the bytes end before the values do. A reader never
    builds more than this.

    >>> count_values(bytes([0x92, 1, 0x81, 0xA1, 97, 2]), most=9)  # [1, {"a": 2}]
    5
    """
    sizes, inside, widths, each = _KINDS
    seen, total, at = 0, 1, 0
    while seen < total <= most and at < len(blob):
        seen += 1
        kind, head = blob[at], at + 1
        at += sizes[kind]
        total += inside[kind]
        if width := widths[kind]:
            length = int.from_bytes(blob[head : head + width], "big")
            if values := each[kind]:
                total += values * length
            else:
                at += length
    return total
