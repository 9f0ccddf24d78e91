"""What a job may ask of an encoding, see `fedloom.wire.encoding` and docs/compression.md."""

from typing import Annotated, Literal

import msgspec

from fedloom.errors import ConfigError

Encoding = Literal["float32", "float16", "int8", "int4", "sign", "eden", "topk"]
Bits = Annotated[int, msgspec.Meta(ge=0, le=4)]
"""0 is not set."""
SentShare = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
"""Likewise."""

_BITS = 1
_SHARE = 0.05


class EncodingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an encoding is done; zero is what it has no use for."""

    bits: Bits = 0
    """Of each weight, with `eden`."""
    share: SentShare = 0.0
    """Of the weights, that `topk` sends."""


def options_of(encoding: Encoding, bits: int = 0, share: float = 0.0) -> EncodingOptions:
    """The options that a job means; zero is the default, where the encoding has the option.

    >>> options_of("eden").bits, options_of("topk", share=0.01).share
    (1, 0.01)
    """
    return EncodingOptions(
        bits=bits or _BITS if encoding == "eden" else 0, share=share or _SHARE if encoding == "topk" else 0.0
    )


def check_options(encoding: Encoding, bits: int, share: float, where: str) -> None:
    """Refuse an option that the encoding does not have.

    Raises:
        ConfigError: names it.
    """
    if bits and encoding != "eden":
        problem = f"encoding {encoding!r} leaves no choice of bits"
        raise ConfigError(where, "update.bits", problem, "leave it out, or set update.encoding to 'eden'")
    if share and encoding != "topk":
        problem = f"encoding {encoding!r} sends all weights"
        raise ConfigError(where, "update.share", problem, "leave it out, or set update.encoding to 'topk'")
