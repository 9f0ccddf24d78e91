"""Flower names nodes by integers, fedloom devices by 16 bytes. Both ends work the number out from the device's id."""

from hashlib import sha256

SUPERLINK = 1
"""The server's number in Flower (SUPERLINK_NODE_ID)."""


def node_of(device: bytes) -> int:
    """63 bits of SHA-256, never 0 or 1: the same in every run.

    >>> node_of(bytes(16))
    1537769302100740533
    """
    return max(SUPERLINK + 1, int.from_bytes(sha256(b"fedloom/1/node" + device).digest()[:8], "big") >> 1)


def run_of(job: bytes) -> int:
    """The number of a run, likewise."""
    return max(1, int.from_bytes(sha256(b"fedloom/1/run" + job).digest()[:8], "big") >> 1)
