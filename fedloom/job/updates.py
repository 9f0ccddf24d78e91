"""How the updates of a job travel."""

from typing import Annotated

import msgspec

from fedloom.compression import Bits, Encoding, EncodingOptions, SentShare, options_of
from fedloom.job.numbers import PositiveInt
from fedloom.learning.standardise import MAX_MAGNITUDE

CHUNK_BYTES = 96 * 1024
"""Leaves room in AWS IoT Core's 128 KB for topic and packet header."""
MIN_CHUNK_BYTES = 1024


class UpdateRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How updates travel and what is admitted."""

    encoding: Encoding = "float32"
    bits: Bits = 0
    """Of each weight, with `eden`; 0 is 1."""
    share: SentShare = 0.0
    """Of the weights, that `topk` sends; 0 is 0.05."""
    error_feedback: bool = True
    """What an encoding has lost is kept on the device and added to its next update."""
    chunk_bytes: Annotated[int, msgspec.Meta(ge=MIN_CHUNK_BYTES, le=120 * 1024)] = CHUNK_BYTES
    """A larger model travels to the devices in pieces of this size; smaller ones where links are too slow, or too often
    cut, for one to get through."""
    max_norm: Annotated[float, msgspec.Meta(gt=0.0)] = 1e6
    """Euclidean norm above which an update is refused."""
    max_control_norm: Annotated[float, msgspec.Meta(gt=0.0)] = 1e6
    """The same of the change of a control variate (SCAFFOLD), which is as large as a gradient."""
    max_samples: PositiveInt = 10_000_000
    """Sample count above which an update is refused."""
    max_feature: Annotated[float, msgspec.Meta(gt=0.0, le=MAX_MAGNITUDE)] = 1e9
    """Root mean square of a feature above which a device's statistics are refused."""

    @property
    def options(self) -> EncodingOptions:
        """Of the encoding, with its defaults in the place of zeros."""
        return options_of(self.encoding, self.bits, self.share)

    @property
    def keeps_residual(self) -> bool:
        """Whether a device keeps what the encoding has lost."""
        return self.error_feedback and self.encoding != "float32"
