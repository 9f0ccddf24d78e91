"""Root and credential: signed, pinned, and nothing else is believed."""

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.errors import Reason, Refused
from fedloom.trust.documents import (
    AggregatorKey,
    Credential,
    Registrar,
    Root,
    open_credential,
    open_root,
    sign_credential,
    sign_root,
)
from fedloom.trust.seal import SealSuite
from fedloom.trust.signing import SigningKey

KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
REGISTRAR = SigningKey(b"\x09" * 32)
ROOT = Root(
    1, b"F" * 16, SealSuite.HYBRID, tuple(k.public for k in KEYS[:3]), 2,
    Registrar(b"R" * 16, REGISTRAR.public, b"\x05" * 1216, b"\x06" * 300),
    (AggregatorKey(b"A" * 16, b"\x07" * 32),),
)  # fmt: skip
CREDENTIAL = Credential(b"F" * 16, b"D" * 16, "pump", b"\x01" * 32, b"\x02" * 32, 1_900_000_000, 2_000_000_000)


def pin(blob):
    return sha256(blob).digest()


def reason_of(call, *arguments):
    with pytest.raises(Refused) as refusal:
        call(*arguments)
    return refusal.value.reason


def test_root_with_enough_signatures_is_believed():
    blob = sign_root(ROOT, *KEYS[:2])
    assert open_root(blob, pin(blob)) == ROOT


@pytest.mark.parametrize("signers", [[], [0], [0, 0], [0, 3], [3]])
def test_too_few_different_known_signers_are_not_enough(signers):
    blob = sign_root(ROOT, *(KEYS[number] for number in signers))
    assert reason_of(open_root, blob, pin(blob)) is Reason.BAD_SIGNATURE


def test_a_root_that_was_not_pinned_is_not_read():
    assert reason_of(open_root, sign_root(ROOT, *KEYS[:2]), bytes(32)) is Reason.HASH_MISMATCH


def test_a_threshold_that_nobody_can_reach_is_refused():
    blob = sign_root(msgspec.structs.replace(ROOT, threshold=4), *KEYS[:3])
    assert reason_of(open_root, blob, pin(blob)) is Reason.BAD_SIGNATURE


def test_credential_of_the_registrar_is_believed():
    assert open_credential(sign_credential(CREDENTIAL, REGISTRAR), ROOT) == CREDENTIAL


def test_credential_of_anybody_else_is_not():
    assert reason_of(open_credential, sign_credential(CREDENTIAL, KEYS[0]), ROOT) is Reason.BAD_SIGNATURE


def test_credential_of_another_federation_is_not():
    foreign = msgspec.structs.replace(CREDENTIAL, federation=b"G" * 16)
    assert reason_of(open_credential, sign_credential(foreign, REGISTRAR), ROOT) is Reason.WRONG_FEDERATION


def test_a_root_is_not_a_credential():
    """Each document has its own domain: a signature over one never holds for the other."""
    blob = sign_root(ROOT, REGISTRAR)
    assert reason_of(open_credential, blob, ROOT) is Reason.MALFORMED


@given(st.data())
def test_a_changed_byte_is_refused(data):
    blob = bytearray(sign_credential(CREDENTIAL, REGISTRAR))
    position = data.draw(st.integers(0, len(blob) - 1))
    blob[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refused):
        open_credential(bytes(blob), ROOT)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(blob):
    with pytest.raises(Refused):
        open_root(blob, pin(blob))


def test_oversized_is_refused_unread():
    assert reason_of(open_credential, bytes(65 * 1024), ROOT) is Reason.TOO_LARGE
