"""What a join is told, and what it asks for; see edge_client.events, of which it shares some."""

from typing import NamedTuple

from edge_client.events import Log, Publish, Subscribe, Tick, WriteDocument
from fedloom.errors import FedloomError
from fedloom.link.base import Event as LinkEvent
from fedloom.trust.device_keys import DeviceSecrets
from fedloom.trust.documents import Credential, Root
from fedloom.trust.tokens import Token
from fedloom.wire.messages import Capabilities


class Wish(NamedTuple):
    """What a device asks for."""

    token: Token
    name: str
    """What it would like to be called; empty leaves it to the registrar."""
    capabilities: Capabilities
    data: str
    """Path of its data, for its configuration."""


class Pending(NamedTuple):
    """What a join that was begun has put on disk."""

    secrets: DeviceSecrets
    root: Root


class Made(NamedTuple):
    """`MakeKeys` has been carried out."""

    secrets: DeviceSecrets


class MakeKeys(NamedTuple):
    """Make keys, and put them on disk with the root document; said once, and answered by `Made`."""

    root: Root
    document: bytes


class Secure(NamedTuple):
    """Leave the connection whose broker was not verified; the next one is verified against the root's authority."""


class WriteConfig(NamedTuple):
    """Write edge.toml, unless there is one."""

    text: str


class Discard(NamedTuple):
    """Remove the keys that were made: nobody will ever know them."""


class Say(NamedTuple):
    """Tell whoever waits how it goes."""

    text: str


class Joined(NamedTuple):
    """Done."""

    credential: Credential


class Failed(NamedTuple):
    """Over."""

    error: FedloomError


JoinEvent = LinkEvent | Made | Tick
Write = MakeKeys | WriteConfig | Discard | WriteDocument
"""On disk when it has been carried out."""
Send = Secure | Subscribe | Publish
"""On the link."""
JoinAction = Write | Send | Say | Log | Joined | Failed
