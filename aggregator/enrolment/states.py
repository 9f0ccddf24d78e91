"""What a join token can be."""

from enum import StrEnum


class TokenState(StrEnum):
    """As the store has it; `aggregator.enrolment.decisions` draws how one follows another."""

    UNUSED = "unused"
    PENDING = "pending"
    APPROVED = "approved"
    JOINED = "joined"
    REJECTED = "rejected"
    REVOKED = "revoked"


OPEN = (TokenState.UNUSED, TokenState.PENDING, TokenState.APPROVED)
"""A device may come in with it yet."""
