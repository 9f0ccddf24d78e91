"""What a job may ask of an encoding, see `fedloom.wire.encoding` and docs/compression.md."""

from typing import Annotated, Literal

import msgspec

from fedloom.errors import ConfigError

Encoding = Literal["float32", "float16", "int8", "int4", "sign", "eden", "topk"]

_BITS: dict[Encoding, range] = {"eden": range(1, 5), "topk": range(1, 9)}
"""What `bits` may be; the first is the default."""
_SHARE: dict[Encoding, float] = {"topk": 0.05}
"""The defaults of `share`."""


class EncodingOptions(msgspec.Struct, frozen=True, array_like=True):
    """How an encoding is done; zero is what it has no use for."""

    bits: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    """Of a value."""
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """Of the weights, that are sent."""


def options_of(encoding: Encoding, bits: int, share: float) -> EncodingOptions:
    """The options that a job means by these; zero is the default, where there is one.

    >>> options_of("eden", 0, 0.0).bits, options_of("topk", 0, 0.01).share
    (1, 0.01)
    """
    return EncodingOptions(bits or min(_BITS.get(encoding, (0,))), share or _SHARE.get(encoding, 0.0))


def check_options(encoding: Encoding, bits: int, share: float, where: str) -> None:
    """Refuse an option that the encoding does not have.

    Raises:
        ConfigError: names it.
    """
    allowed = _BITS.get(encoding)
    if bits and not allowed:
        problem = f"encoding {encoding!r} leaves no choice of bits"
        raise ConfigError(where, "update.bits", problem, f"leave it out, or set update.encoding to {_either(_BITS)}")
    if bits and allowed and bits not in allowed:
        remedy = f"choose from {allowed[0]} to {allowed[-1]}"
        raise ConfigError(where, "update.bits", f"encoding {encoding!r} has none of {bits} bits", remedy)
    if share and encoding not in _SHARE:
        problem = f"encoding {encoding!r} sends all weights"
        raise ConfigError(where, "update.share", problem, f"leave it out, or set update.encoding to {_either(_SHARE)}")


def _either(names: dict[Encoding, range] | dict[Encoding, float]) -> str:
    return " or ".join(repr(name) for name in names)
