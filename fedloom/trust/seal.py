"""Sealing to a public key with HPKE (RFC 9180): nobody but the holder of the private key reads it.

Two suites: X25519, and the post-quantum hybrid ML-KEM-768 + X25519, which is the default. Which of them a federation
uses stands in its signed root document and is never negotiated.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from fedloom.errors import Reason, Refused
from fedloom.trust.signing import key_id
from fedloom.trust.suites import SealSuite as SealSuite

_X25519_BYTES = 32
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184

_SUITES = {
    SealSuite.X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    SealSuite.HYBRID: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}


class SealKey:
    """A private key that opens what was sealed to its public part."""

    def __init__(self, suite: SealSuite, private: bytes) -> None:
        """Load from `private`: X25519 is 32 bytes; the hybrid is the 64-byte ML-KEM seed, then X25519's 32.

        Raises:
            ValueError: wrong length for the suite.
        """
        self.suite = suite
        self.private = private
        if suite is SealSuite.X25519:
            classical = X25519PrivateKey.from_private_bytes(private)
            self._key: X25519PrivateKey | MLKEM768X25519PrivateKey = classical
            self.public = classical.public_key().public_bytes_raw()
        elif suite is SealSuite.HYBRID:
            quantum = MLKEM768PrivateKey.from_seed_bytes(private[:_MLKEM_SEED_BYTES])
            classical = X25519PrivateKey.from_private_bytes(private[_MLKEM_SEED_BYTES:])
            self._key = MLKEM768X25519PrivateKey(quantum, classical)
            self.public = quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()
        else:
            raise ValueError(f"no keys for suite {suite!r}")
        self.id = key_id(self.public)

    @classmethod
    def generate(cls, suite: SealSuite) -> "SealKey":
        """A new key from the operating system's randomness."""
        private = X25519PrivateKey.generate().private_bytes_raw()
        if suite is SealSuite.HYBRID:
            private = MLKEM768PrivateKey.generate().private_bytes_raw() + private
        return cls(suite, private)

    def open(self, sealed: bytes | memoryview, info: bytes) -> bytes:
        """The plain text of `sealed`, if it was sealed to this key with the same `info`.

        Raises:
            Refused: CANNOT_OPEN.
        """
        try:
            return _SUITES[self.suite].decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError):
            raise Refused(Reason.CANNOT_OPEN) from None


class Recipient:
    """A public key, loaded once, to seal to many times."""

    def __init__(self, suite: SealSuite, public: bytes) -> None:
        """Load X25519's 32 bytes, or ML-KEM-768's 1,184 followed by X25519's 32.

        Raises:
            ValueError: wrong length or not a key of the suite.
        """
        self.suite = suite
        self.public = public
        self.id = key_id(public)
        if suite is SealSuite.X25519:
            self._key: X25519PublicKey | MLKEM768X25519PublicKey = X25519PublicKey.from_public_bytes(public)
        elif suite is SealSuite.HYBRID:
            if len(public) != _MLKEM_PUBLIC_BYTES + _X25519_BYTES:
                raise ValueError("a hybrid public key has 1,216 bytes")
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
                X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
            )
        else:
            raise ValueError(f"no keys for suite {suite!r}")

    def seal(self, plain: bytes, info: bytes) -> bytes:
        """`plain` for the holder of the private key alone, bound to `info`."""
        return _SUITES[self.suite].encrypt(plain, self._key, info)
