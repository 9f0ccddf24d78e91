"""What a profile for a broker is made from, and what it consists of."""

from collections.abc import Callable
from typing import NamedTuple

FRAME_PACKET_BYTES = 128 * 1024
"""Room for a frame of 120 KiB, its topic and MQTT's own bytes."""
MAX_CONNECTIONS = 20_000
MAX_JOINING = 200
"""Connections at once on the listener for joining, where strangers may connect."""
MAX_IN_FLIGHT = 32
MAX_QUEUED_MESSAGES = 20_000
MAX_KEEPALIVE_S = 300


PORT, JOIN_PORT = 8883, 8884
OWN_TOML = """\
[broker]
host = {host}
port = {port}

[broker.tls]
ca = {ca}
cert = {cert}
key = {key}

[devices]
join_port = {join_port}
"""


class Facts(NamedTuple):
    """Of a federation, as its broker must know them."""

    federation: str
    """Its id, in hex."""
    aggregator: str
    """The aggregator's client id and user name at the broker."""
    revoked: tuple[str, ...]
    """Ids of devices, in hex."""
    revoked_certificates: tuple[bytes, ...]
    """DER; those that have not expired."""
    at: str
    """The directory where the broker finds its files."""
    port: int
    join_port: int
    """0: none."""

    @property
    def prefix(self) -> str:
        """Of all topics."""
        return f"fedloom/{self.federation}"


class Profile(NamedTuple):
    """A broker's configuration."""

    files: dict[str, str]
    """By name, beside the TLS material."""
    apply: str
    """What to do, so that a running broker takes it up."""


class Software(NamedTuple):
    """A kind of broker."""

    profile: Callable[[Facts], Profile]
    aggregator_toml: str = OWN_TOML
    """The lines for the aggregator's configuration, to be filled in."""
    is_hosted: bool = False
    """Somebody else runs it: its certificate, ports and paths are not ours, it reads no revocation list, and the
    aggregator's client id is its id, which is the name of a thing."""
