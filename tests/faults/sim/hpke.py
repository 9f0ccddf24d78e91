"""Stands in for HPKE in the simulation: the ephemeral key comes from the seed, so that a run can be repeated.

It opens for the right key and the right `info` alone, and costs as many bytes; it hides nothing.
"""

from collections.abc import Callable
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class SeededSuite:
    """The same calls as `cryptography`'s Suite."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy

    def encrypt(self, plain: bytes, key: X25519PublicKey, info: bytes) -> bytes:
        drawn = self._entropy(32)
        return drawn + _cipher(key, drawn, info).encrypt(bytes(12), plain, None)

    def decrypt(self, sealed: bytes | memoryview, key: X25519PrivateKey, info: bytes) -> bytes:
        """Raises InvalidTag or ValueError, as HPKE does."""
        sealed = bytes(sealed)
        return _cipher(key.public_key(), sealed[:32], info).decrypt(bytes(12), sealed[32:], None)


def _cipher(key: X25519PublicKey, drawn: bytes, info: bytes) -> AESGCM:
    return AESGCM(sha256(key.public_bytes_raw() + drawn + info).digest())
