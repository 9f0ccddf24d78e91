"""Writes what lets a device in: its credential, and the certificate for the broker's TLS that goes with it. Pure."""

from hashlib import sha256
from typing import NamedTuple

from aggregator.config import CREDENTIAL_DAYS
from aggregator.keys import AggregatorKeys
from fedloom.trust.certificates import SKEW_S
from fedloom.trust.documents import DAY_S, RENEWAL_GRACE_S, Credential, sign_credential


class PublicKeys(NamedTuple):
    """The public parts of a device's keys."""

    signing: bytes
    seal: bytes
    tls: bytes
    """SubjectPublicKeyInfo (DER)."""


class Issued(NamedTuple):
    """What the registrar says of a device."""

    credential: bytes
    certificate: bytes
    """DER; valid for `RENEWAL_GRACE_S` longer than the credential, so that a device that slept reaches the broker."""
    not_after: int


def issue(
    keys: AggregatorKeys, device: bytes, name: str, public: PublicKeys, now_s: float, days: int = CREDENTIAL_DAYS
) -> Issued:
    """A credential that is valid from `now_s` (seconds since 1970, UTC) for so many days, and a certificate."""
    not_before, not_after = int(now_s), int(now_s) + days * DAY_S
    credential = Credential(keys.root.federation, device, name, public.signing, public.seal, not_before, not_after)
    certificate = keys.registrar.authority.issue(public.tls, device.hex(), now_s - SKEW_S, not_after + RENEWAL_GRACE_S)
    return Issued(sign_credential(credential, keys.registrar.signing), certificate, not_after)


def due_at_s(credential: Credential) -> float:
    """When a credential is to be renewed, seconds since 1970 (UTC):

        not_before + life · (2/3 + jitter / 6),   0 ≤ jitter < 1 by the device's id and `not_after`

    so that a fleet that joined on one day does not come back on one day.
    """
    life_s = credential.not_after - credential.not_before
    digest = sha256(credential.device + str(credential.not_after).encode()).digest()
    jitter = int.from_bytes(digest[:8], "big") / 2**64
    return credential.not_before + life_s * (2 / 3 + jitter / 6)
