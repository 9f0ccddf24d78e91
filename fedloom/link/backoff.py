"""How long to wait before trying again: exponential backoff with full jitter.

delay ~ Uniform(0, min(cap, first · 2^attempt))

Source: Brooker (2015), "Exponential Backoff And Jitter", AWS Architecture Blog.
"""

import os


def draw() -> float:
    """A number from Uniform[0, 1), by the operating system's randomness."""
    return int.from_bytes(os.urandom(6), "big") / 2**48


def full_jitter_s(attempt: int, draw: float, first_s: float, cap_s: float) -> float:
    """Seconds to wait before attempt `attempt` (0, 1, …), for a `draw` from Uniform[0, 1).

    >>> full_jitter_s(3, 0.5, first_s=1.0, cap_s=60.0)
    4.0
    """
    return float(draw * min(cap_s, first_s * 2.0 ** min(attempt, 64)))
