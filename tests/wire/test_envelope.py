"""The envelope: only what was signed, by whom it says, for whom it says, comes out."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.errors import Reason, Refused
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import SigningKey, VerifyingKey
from fedloom.wire.envelope import HEADER_BYTES, Header, Type, parse, write_clear, write_sealed

SIGNER = SigningKey(bytes(range(32)))
VERIFIER = VerifyingKey(SIGNER.public)
SEAL = {suite: SealKey.generate(suite) for suite in (SealSuite.X25519, SealSuite.HYBRID)}
HEADER = Header(Type.UPDATE, b"f" * 16, b"s" * 16, b"m" * 16, b"r" * 16, b"j" * 16, 7, 2, b"h" * 32, 1, 99, encoding=3)
LIMIT = 1 << 20


def sealed(suite=SealSuite.HYBRID, body=b"body", header=HEADER):
    return write_sealed(header, body, SIGNER, Recipient(suite, SEAL[suite].public))


@pytest.mark.parametrize("suite", list(SEAL))
@pytest.mark.parametrize("body", [b"", b"x", bytes(100_000)])
def test_sealed_comes_out_as_it_went_in(suite, body):
    envelope = parse(sealed(suite, body), LIMIT)
    envelope.verify(VERIFIER)
    assert envelope.open(SEAL[suite]) == body
    assert envelope.header == HEADER._replace(
        suite=suite, sender_key=SIGNER.id, recipient_key=SEAL[suite].id, plain_length=len(body)
    )


def test_clear_comes_out_as_it_went_in():
    envelope = parse(write_clear(HEADER, b"body", SIGNER), LIMIT)
    envelope.verify(VERIFIER)
    assert envelope.clear() == b"body"


@pytest.mark.parametrize("is_verified_first", [False, True])
def test_the_digest_is_of_the_whole_message(is_verified_first):
    blob = sealed(body=bytes(1000))
    envelope = parse(blob, LIMIT)
    if is_verified_first:
        envelope.verify(VERIFIER)
    assert envelope.digest == sha256(blob).digest()
    envelope.verify(VERIFIER)


@pytest.mark.parametrize(("suite", "overhead"), [(SealSuite.X25519, 48), (SealSuite.HYBRID, 1136)])
def test_overhead_of_sealing(suite, overhead):
    assert len(sealed(suite, bytes(500))) == HEADER_BYTES + 500 + overhead + 64


@given(st.data())
@settings(max_examples=300)
def test_a_flipped_bit_anywhere_is_refused(data):
    blob = bytearray(sealed(SealSuite.X25519))
    position = data.draw(st.integers(0, len(blob) - 1))
    blob[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Refused):
        parse(bytes(blob), LIMIT).verify(VERIFIER)


@given(st.binary(max_size=600))
def test_any_bytes_are_parsed_or_refused(blob):
    with pytest.raises(Refused):
        parse(blob, LIMIT)


@given(st.data())
def test_any_truncation_is_refused(data):
    blob = write_clear(HEADER, b"body", SIGNER)
    cut = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(Refused):
        parse(blob[:cut], LIMIT).verify(VERIFIER)


def test_a_spliced_header_does_not_open_even_if_signed_again():
    """The body is bound to its header by HPKE's info, not by the signature alone."""
    blob = sealed(SealSuite.X25519)
    other = parse(sealed(SealSuite.X25519, header=HEADER._replace(round=8)), LIMIT)
    forged = other.blob[:HEADER_BYTES] + blob[HEADER_BYTES:-64]
    forged += SIGNER.sign(b"fedloom/1/sig", forged)
    envelope = parse(forged, LIMIT)
    envelope.verify(VERIFIER)
    with pytest.raises(Refused) as refusal:
        envelope.open(SEAL[SealSuite.X25519])
    assert refusal.value.reason is Reason.CANNOT_OPEN


def test_another_recipient_cannot_open():
    with pytest.raises(Refused, match="cannot_open"):
        parse(sealed(), LIMIT).open(SealKey.generate(SealSuite.HYBRID))


def test_a_suite_is_never_downgraded():
    with pytest.raises(Refused, match="unknown_suite"):
        parse(sealed(SealSuite.X25519), LIMIT).open(SEAL[SealSuite.HYBRID])
    with pytest.raises(Refused, match="unknown_suite"):
        parse(write_clear(HEADER, b"body", SIGNER), LIMIT).open(SEAL[SealSuite.HYBRID])
    with pytest.raises(Refused, match="unknown_suite"):
        parse(sealed(), LIMIT).clear()


def test_another_signer_is_an_unknown_key():
    with pytest.raises(Refused, match="unknown_key"):
        parse(sealed(), LIMIT).verify(VerifyingKey(SigningKey.generate().public))


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (3, 2, Reason.UNKNOWN_VERSION),
        (4, 9, Reason.UNKNOWN_SUITE),
        (5, 0, Reason.UNKNOWN_TYPE),
        (6, 2, Reason.UNKNOWN_TYPE),
    ],
)
def test_unknown_codes_have_their_own_reason(offset, value, reason):
    blob = bytearray(sealed())
    blob[offset] = value
    with pytest.raises(Refused) as refusal:
        parse(bytes(blob), LIMIT)
    assert refusal.value.reason is reason


def test_the_size_is_judged_before_anything_is_read():
    with pytest.raises(Refused, match="too_large"):
        parse(bytes(LIMIT + 1), LIMIT)
