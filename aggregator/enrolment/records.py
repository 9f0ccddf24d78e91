"""What passes between the registrar and the store: requests to join, what was decided on them, what was granted."""

from typing import Literal, NamedTuple

from aggregator.enrolment.issuing import PublicKeys
from aggregator.records import DeviceRecord
from fedloom.errors import Reason
from fedloom.trust.seal import Recipient
from fedloom.wire.messages import Admission, Capabilities

Shared = Literal["token", "tls_key"]


class JoinRequest(NamedTuple):
    """A device asks to join; its signature holds, its token has not been looked at."""

    token: bytes
    """Its id."""
    secret_hash: bytes
    keys: PublicKeys
    recipient: Recipient
    """Its HPKE key, to seal the answer to."""
    wish: str
    """What it would like to be called; anything at all."""
    capabilities: Capabilities
    digest: bytes
    """SHA-256 of the envelope, which the answer repeats."""
    at_s: float
    """When it came, seconds since 1970 (UTC)."""


class Grant(NamedTuple):
    """A credential and a certificate that are on disk."""

    device: DeviceRecord
    certificate: bytes
    """X.509 (DER) of the device's TLS key."""
    is_new: bool
    """It was issued just now."""


class Decision(NamedTuple):
    """What became of a request; on disk."""

    request: JoinRequest
    verdict: Admission
    reason: Reason | None = None
    """Why it was refused."""
    name: str = ""
    """What the device is called; of a refusal, what the device is called that has the token, or these keys."""
    grant: Grant | None = None
    """None unless it was accepted."""
    is_first: bool = False
    """The token has let nobody in before."""
    shared: Shared | None = None
    """Of a conflict: what two devices have."""
