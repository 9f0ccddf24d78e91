"""Ed25519 signatures (RFC 8032), each over a domain-separation string and a SHA-256, never over a bare message."""

from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedloom.errors import Reason, Refused

SIGNATURE_BYTES = 64
KEY_ID_BYTES = 8


def key_id(public: bytes) -> bytes:
    """The short name of a public key: the first 8 bytes of its SHA-256."""
    return sha256(public).digest()[:KEY_ID_BYTES]


class SigningKey:
    """An Ed25519 private key."""

    def __init__(self, private: bytes) -> None:
        """Load from 32 bytes.

        Raises:
            ValueError: wrong length.
        """
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.private = private
        self.public = self._key.public_key().public_bytes_raw()
        self.id = key_id(self.public)

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """64 bytes over `domain` and the message's SHA-256."""
        return self._key.sign(domain + sha256(message).digest())


class VerifyingKey:
    """An Ed25519 public key, loaded once, to verify many times."""

    def __init__(self, public: bytes) -> None:
        """Load from 32 bytes.

        Raises:
            ValueError: wrong length.
        """
        self._key = Ed25519PublicKey.from_public_bytes(public)
        self.public = public
        self.id = key_id(public)

    def verify(self, signature: bytes, domain: bytes, message: bytes) -> None:
        """Return if `signature` is this key's over the message.

        Raises:
            Refused: BAD_SIGNATURE.
        """
        self.verify_hashed(signature, domain, sha256(message).digest())

    def verify_hashed(self, signature: bytes, domain: bytes, digest: bytes) -> None:
        """Return if `signature` is this key's over the message with this SHA-256.

        Raises:
            Refused: BAD_SIGNATURE.
        """
        try:
            self._key.verify(signature, domain + digest)
        except InvalidSignature:
            raise Refused(Reason.BAD_SIGNATURE) from None
