"""The ways to seal, by the numbers that messages have for them; `fedloom.trust.seal` does it."""

from enum import IntEnum


class SealSuite(IntEnum):
    """The value is the suite byte of the envelope."""

    CLEAR = 0
    X25519 = 1
    HYBRID = 2
