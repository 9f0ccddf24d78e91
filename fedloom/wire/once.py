"""Sealing one message under a key that is drawn for it: AES-256-GCM (NIST SP 800-38D) with a constant nonce.

The nonce may be constant because no key ever seals a second message. The key travels in a task, sealed to one device.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedloom.errors import Reason, Refused

KEY_BYTES = 32
_NONCE = bytes(12)


def seal_once(plain: bytes, key: bytes, domain: bytes) -> bytes:
    """`plain` for the holders of `key`; never use that key again."""
    return AESGCM(key).encrypt(_NONCE, plain, domain)


def open_once(cipher: bytes, key: bytes, domain: bytes) -> bytes:
    """The plain text, if `key` and `domain` are those it was sealed with.

    Raises:
        Refused: CANNOT_OPEN.
    """
    try:
        return AESGCM(key).decrypt(_NONCE, cipher, domain)
    except (InvalidTag, ValueError):
        raise Refused(Reason.CANNOT_OPEN) from None
