"""What we seal, others open, and the other way round: pyhpke, HPKE put together by hand, and published vectors.

pyhpke has no post-quantum hybrid, so that is put together from its parts: ML-KEM-768 and X25519, combined as in X-Wing
(draft-connolly-cfrg-xwing-kem, section 5.3; the MLKEM768-X25519 of draft-ietf-hpke-pq), and RFC 9180's key schedule.
"""

import hmac
import json
import os
import struct
from hashlib import sha3_256, sha256, shake_256
from pathlib import Path
from typing import NamedTuple

import pyhpke
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from fedloom.errors import Reason, Refused
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import SigningKey
from fedloom.wire.envelope import HEADER_BYTES, SIGNATURE_BYTES, Header, Type, parse, write_sealed

VECTORS = json.loads((Path(__file__).parent / "hpke_vectors.json").read_text())
HKDF_SHA256, AES_256_GCM = 1, 2
AEADS = {2: AESGCM, 3: ChaCha20Poly1305}
KEM_IDS = {SealSuite.X25519: 0x0020, SealSuite.HYBRID: 0x647A}
ENC_BYTES = {SealSuite.X25519: 32, SealSuite.HYBRID: 1088 + 32}
SUITES = {"x25519": SealSuite.X25519, "hybrid": SealSuite.HYBRID}
LABEL = bytes.fromhex("5c2e2f2f5e5c")
"""X-Wing's, a drawing of one."""
SIZES = (0, 1, 15, 16, 17, 4096, 400_000)


class Context(NamedTuple):
    """What both sides have in common: RFC 9180, section 5.1."""

    aead: AESGCM | ChaCha20Poly1305
    key: bytes
    nonce: bytes

    def seal(self, plain, aad=b""):
        return self.aead.encrypt(self.nonce, plain, aad)

    def open(self, cipher, aad=b""):
        return self.aead.decrypt(self.nonce, cipher, aad)


def labeled_extract(suite_id, salt, label, ikm):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm, "sha256")


def labeled_expand(suite_id, prk, label, info, size):
    info = struct.pack(">H", size) + b"HPKE-v1" + suite_id + label + info
    stretch = block = b""
    for count in range(1, 256):
        block = hmac.digest(prk, block + info + bytes([count]), "sha256")
        stretch += block
        if len(stretch) >= size:
            break
    return stretch[:size]


def key_schedule(suite, shared_secret, info, aead_id=AES_256_GCM):
    """Base mode: no pre-shared key. RFC 9180, section 5.1."""
    suite_id = b"HPKE" + struct.pack(">HHH", KEM_IDS[suite], HKDF_SHA256, aead_id)
    nobody = labeled_extract(suite_id, b"", b"psk_id_hash", b"")
    context = b"\x00" + nobody + labeled_extract(suite_id, b"", b"info_hash", info)
    secret = labeled_extract(suite_id, shared_secret, b"secret", b"")
    key = labeled_expand(suite_id, secret, b"key", context, 32)
    return Context(AEADS[aead_id](key), key, labeled_expand(suite_id, secret, b"base_nonce", context, 12))


def dhkem(exchanged, enc, public):
    """The shared secret of DHKEM(X25519, HKDF-SHA256): RFC 9180, section 4.1."""
    suite_id = b"KEM" + struct.pack(">H", KEM_IDS[SealSuite.X25519])
    prk = labeled_extract(suite_id, b"", b"eae_prk", exchanged)
    return labeled_expand(suite_id, prk, b"shared_secret", enc + public, 32)


def encapsulate(suite, public):
    """(shared secret, what the holder of the private key needs for it)."""
    ephemeral = X25519PrivateKey.generate()
    enc = ephemeral.public_key().public_bytes_raw()
    exchanged = ephemeral.exchange(X25519PublicKey.from_public_bytes(public[-32:]))
    if suite is SealSuite.X25519:
        return dhkem(exchanged, enc, public), enc
    quantum, cipher = MLKEM768PublicKey.from_public_bytes(public[:-32]).encapsulate()
    return sha3_256(quantum + exchanged + enc + public[-32:] + LABEL).digest(), cipher + enc


def decapsulate(suite, private, enc):
    classical = X25519PrivateKey.from_private_bytes(private[-32:])
    public = classical.public_key().public_bytes_raw()
    exchanged = classical.exchange(X25519PublicKey.from_public_bytes(enc[-32:]))
    if suite is SealSuite.X25519:
        return dhkem(exchanged, enc, public)
    quantum = MLKEM768PrivateKey.from_seed_bytes(private[:-32]).decapsulate(enc[:-32])
    return sha3_256(quantum + exchanged + enc[-32:] + public + LABEL).digest()


def open_by_hand(suite, private, sealed, info):
    enc, cipher = sealed[: ENC_BYTES[suite]], sealed[ENC_BYTES[suite] :]
    return key_schedule(suite, decapsulate(suite, private, enc), info).open(cipher)


def seal_by_hand(suite, public, plain, info):
    secret, enc = encapsulate(suite, public)
    return enc + key_schedule(suite, secret, info).seal(plain)


@pytest.fixture(params=sorted(SUITES))
def vector(request):
    """(suite, the published values as bytes)."""
    fields = VECTORS[request.param].items()
    read = {
        name: bytes.fromhex(value) if isinstance(value, str) and name != "source" else value for name, value in fields
    }
    return SUITES[request.param], read


def expanded(suite, private):
    """The private key in our form: the published hybrid's is the seed of both parts."""
    return shake_256(private).digest(96) if suite is SealSuite.HYBRID else private


def test_hpke_by_hand_is_that_of_the_published_vectors(vector):
    suite, known = vector
    assert (KEM_IDS[suite], HKDF_SHA256) == (known["kem_id"], known["kdf_id"])
    secret = decapsulate(suite, expanded(suite, known["skRm"]), known["enc"])
    assert secret == known["shared_secret"]
    context = key_schedule(suite, secret, known["info"], known["aead_id"])
    assert (context.key, context.nonce) == (known["key"], known["base_nonce"])
    assert context.open(known["ct"], known["aad"]) == known["pt"]


def test_our_keys_are_those_of_the_published_vectors(vector):
    suite, known = vector
    assert SealKey(suite, expanded(suite, known["skRm"])).public == known["pkRm"]


def test_we_open_what_was_sealed_with_a_published_secret(vector):
    """For X25519 that is the vector's own key and nonce; the hybrid's is of another AEAD, so only its KEM is taken."""
    suite, known = vector
    context = key_schedule(suite, known["shared_secret"], known["info"])
    assert (context.key == known["key"]) is (known["aead_id"] == AES_256_GCM)
    sealed = known["enc"] + context.seal(known["pt"])
    assert SealKey(suite, expanded(suite, known["skRm"])).open(sealed, known["info"]) == known["pt"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("suite", SUITES.values())
def test_by_hand_both_ways(suite, size):
    key, plain, info = SealKey.generate(suite), os.urandom(size), os.urandom(45)
    sealed = Recipient(suite, key.public).seal(plain, info)
    assert len(sealed) == ENC_BYTES[suite] + size + 16
    assert open_by_hand(suite, key.private, sealed, info) == plain
    assert key.open(seal_by_hand(suite, key.public, plain, info), info) == plain


@pytest.fixture
def peer():
    return pyhpke.CipherSuite.new(
        pyhpke.KEMId.DHKEM_X25519_HKDF_SHA256, pyhpke.KDFId.HKDF_SHA256, pyhpke.AEADId.AES256_GCM
    )


def pyhpke_seals(peer, public, plain, info):
    enc, context = peer.create_sender_context(peer.kem.deserialize_public_key(public), info=info)
    return enc + context.seal(plain)


def pyhpke_opens(peer, private, sealed, info):
    context = peer.create_recipient_context(sealed[:32], peer.kem.deserialize_private_key(private), info=info)
    return context.open(sealed[32:])


@pytest.mark.parametrize("size", SIZES[1:])  # pyhpke takes no empty message
def test_pyhpke_both_ways(peer, size):
    key, plain, info = SealKey.generate(SealSuite.X25519), os.urandom(size), os.urandom(45)
    sealed = Recipient(SealSuite.X25519, key.public).seal(plain, info)
    assert pyhpke_opens(peer, key.private, sealed, info) == plain
    assert key.open(pyhpke_seals(peer, key.public, plain, info), info) == plain


def test_neither_opens_under_another_info_or_a_changed_message(peer):
    key = SealKey.generate(SealSuite.X25519)
    ours = Recipient(SealSuite.X25519, key.public).seal(b"update", b"one round")
    theirs = pyhpke_seals(peer, key.public, b"update", b"one round")
    for position in (0, 31, 32, -1):
        changed = bytearray(theirs)
        changed[position] ^= 1
        with pytest.raises(Refused) as refusal:
            key.open(bytes(changed), b"one round")
        assert refusal.value.reason is Reason.CANNOT_OPEN
    with pytest.raises(Refused):
        key.open(theirs, b"another round")
    with pytest.raises(pyhpke.OpenError):
        pyhpke_opens(peer, key.private, ours, b"another round")
    with pytest.raises(InvalidTag):
        open_by_hand(SealSuite.X25519, key.private, ours, b"another round")


def info_of(blob):
    """As the envelope binds its header: docs/protocol.md."""
    return b"fedloom/1/env" + sha256(blob[:HEADER_BYTES]).digest()


@pytest.mark.parametrize("suite", SUITES.values())
def test_an_envelope_opens_elsewhere_by_the_protocols_page_alone(peer, suite):
    key = SealKey.generate(suite)
    header = Header(Type.UPDATE, b"F" * 16, b"S" * 16, b"M" * 16, round=7)
    blob = write_sealed(header, b"the body", SigningKey.generate(), Recipient(suite, key.public))
    body = blob[HEADER_BYTES:-SIGNATURE_BYTES]
    assert open_by_hand(suite, key.private, body, info_of(blob)) == b"the body"
    if suite is SealSuite.X25519:
        assert pyhpke_opens(peer, key.private, body, info_of(blob)) == b"the body"


def test_an_envelope_sealed_by_pyhpke_opens_here(peer):
    key, signer = SealKey.generate(SealSuite.X25519), SigningKey.generate()
    recipient = Recipient(SealSuite.X25519, key.public)
    header = Header(Type.UPDATE, b"F" * 16, b"S" * 16, b"M" * 16, suite=SealSuite.X25519)
    head = header._replace(sender_key=signer.id, recipient_key=recipient.id, plain_length=8).pack()
    signed = head + pyhpke_seals(peer, key.public, b"the body", info_of(head))
    envelope = parse(signed + signer.sign(b"fedloom/1/sig", signed), 1000)
    assert envelope.open(key) == b"the body"
