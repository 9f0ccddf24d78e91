"""HPKE sealing: keys round-trip, nothing opens with another key or another context."""

import pytest

from fedloom.errors import Refused
from fedloom.trust.seal import Recipient, SealKey, SealSuite

SUITES = [SealSuite.X25519, SealSuite.HYBRID]


@pytest.mark.parametrize("suite", SUITES)
def test_opens_with_its_key_and_context_only(suite):
    key = SealKey.generate(suite)
    sealed = Recipient(suite, key.public).seal(b"weights", b"context")
    assert SealKey(suite, key.private).open(sealed, b"context") == b"weights"
    with pytest.raises(Refused, match="cannot_open"):
        key.open(sealed, b"another context")
    with pytest.raises(Refused, match="cannot_open"):
        SealKey.generate(suite).open(sealed, b"context")


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("sealed", [b"", b"x", bytes(48), bytes(5000)])
def test_garbage_is_refused(suite, sealed):
    with pytest.raises(Refused, match="cannot_open"):
        SealKey.generate(suite).open(sealed, b"")


@pytest.mark.parametrize(("suite", "private", "public"), [(SealSuite.X25519, 32, 32), (SealSuite.HYBRID, 96, 1216)])
def test_sizes(suite, private, public):
    key = SealKey.generate(suite)
    assert (len(key.private), len(key.public)) == (private, public)
    with pytest.raises(ValueError, match="32 bytes"):
        SealKey(suite, key.private[:-1])
    with pytest.raises(ValueError, match="bytes"):
        Recipient(suite, key.public[:-1])


def test_a_recorded_message_still_opens():
    """Sealed on 2026-11-21 with X25519, HKDF-SHA256, AES-256-GCM: what is stored today must open for ever."""
    key = SealKey(SealSuite.X25519, bytes(range(32)))
    assert key.public.hex() == "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"
    sealed = bytes.fromhex(RECORDED)
    assert key.open(sealed, b"golden") == b"fedloom"


RECORDED = (
    "e5df54311ccb02413dd770e7e33c7a0e725a3b61fd80f88ab8a79e81ae6c17344405ca3f8cd784d13875dae78b227d879246eb7aaed654"
)
