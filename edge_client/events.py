"""What the device's session is told, and what it asks for.

Actions are carried out in the order given, each finished before the next begins: what follows a `PersistState` or a
`StoreOutbox` may rely on its being on disk. When the process dies between two actions, nothing else is needed.
"""

from typing import NamedTuple

from edge_client.state import DeviceState, OutboxEntry
from fedloom.learning.layout import Vector
from fedloom.learning.standardise import Standardiser
from fedloom.wire.chunks import Chunks
from fedloom.wire.messages import Brief, Manifest, Task, Update


class Started(NamedTuple):
    """The process is up, and its durable state has been handed to the session."""

    ages_s: tuple[tuple[bytes, float], ...] = ()
    """Digests of the updates in the outbox, and how long they have been there, by this device's clock."""


class Connected(NamedTuple):
    """A connection to the broker stands."""

    max_payload_bytes: int
    """The largest payload that the broker takes on this device's `up` topic."""
    is_flushed: bool = True
    """As in `Tick`."""
    window: int = 65_535
    """Unacknowledged messages that the broker takes at once (MQTT 5's Receive Maximum)."""


class Disconnected(NamedTuple):
    """The connection is gone; the link tries again by itself."""


class Came(NamedTuple):
    """A message from the broker, not believed yet."""

    topic: str
    payload: bytes


class Sent(NamedTuple):
    """The broker has a frame that was published."""

    queued: int
    """Messages on this device's `up` topic that it does not have yet."""


class DownloadOpened(NamedTuple):
    """The answer to `OpenDownload`."""

    model: bytes
    missing: tuple[int, ...]
    """Numbers of the chunks that are not on disk."""


class DownloadRead(NamedTuple):
    """The answer to `ReadDownload`."""

    model: bytes
    cipher: bytes
    """Empty where the disk has spoiled it."""


class Tick(NamedTuple):
    """Time has passed; due at the session's `wake_at_s`."""

    is_flushed: bool = True
    """The broker has all that was published on this device's `up` topic."""


class Stopping(NamedTuple):
    """The process is about to end."""


class Model(NamedTuple):
    """The global model of a round, verified and opened."""

    plain_hash: bytes
    weights: Vector
    standardiser: Standardiser | None
    control_hash: bytes = b""
    control: Vector | None = None
    """(p,): the server's control variate, where the strategy has one."""
    request: bytes = b""
    """In an exchange, what the app is asked; then there are no weights."""


class Work(NamedTuple):
    """A round in which this device takes part."""

    manifest: Manifest
    manifest_hash: bytes
    task: Task
    brief: Brief
    model: Model | None
    """None in the statistics round."""
    residual: bytes
    """Names the stored error-feedback residual of this job, in an exchange the app's context; empty is none."""
    control: bytes = b""
    """Names the stored control variate of this job; empty: it is zero."""


class Answer(NamedTuple):
    """What came of a piece of work."""

    update: Update
    encoding: int = 0
    """Code of the vector's encoding; 0 where there is none."""
    residual: bytes | None = None
    """The new error-feedback residual, little-endian float32, or the app's new context; None leaves the old one."""
    control: bytes | None = None
    """The control variate that this update makes, likewise; it becomes current when the aggregator has counted it."""
    personal: bytes | None = None
    """The file of the device's own model after this work; None leaves the old one as it is."""


class Awaken(NamedTuple):
    """Somebody wants the device to be awake, sleep or no sleep."""


class Trained(NamedTuple):
    """A piece of work is done, or declined."""

    work: Work
    answer: Answer


Event = (
    Started
    | Connected
    | Disconnected
    | Came
    | Sent
    | DownloadOpened
    | DownloadRead
    | Tick
    | Stopping
    | Awaken
    | Trained
)


class Subscribe(NamedTuple):
    """Hear a topic from now on; again for one that is subscribed already, so that retained messages come again."""

    topic_filter: str
    renew: bool = True
    """At each connection, so that retained messages come again; else only where the broker has forgotten us."""


class Unsubscribe(NamedTuple):
    """Hear it no longer."""

    topic_filter: str


class Publish(NamedTuple):
    """Hand a message to the link."""

    topic: str
    payload: bytes
    retain: bool = False


class PublishFrame(NamedTuple):
    """Hand a frame of an update in the outbox to the link; followed by `Sent` when the broker has it."""

    topic: str
    header: bytes
    digest: bytes
    """Names the update."""
    start: int
    """Where the frame's slice begins in the update's blob."""
    length: int


class Withdraw(NamedTuple):
    """Have the link give up what it has not sent on a topic yet."""

    topic: str


class PersistState(NamedTuple):
    """Replace the state file."""

    state: DeviceState


class WriteDocument(NamedTuple):
    """Replace a file beside the keys: a root document, or the registrar's word for this device."""

    name: str
    data: bytes


class Silent(NamedTuple):
    """Leave a note for people: the aggregator has said nothing for so long."""

    seconds: float


class Heard(NamedTuple):
    """Take that note away."""


class StoreOutbox(NamedTuple):
    """Put an update on disk, and the residual, the control variate and the personal model that go with it."""

    entry: OutboxEntry
    residual: bytes | None
    control: bytes | None = None
    personal: bytes | None = None


class DropOutbox(NamedTuple):
    """Remove an update; its residual and its variate too, unless the state names them."""

    digest: bytes


class OpenDownload(NamedTuple):
    """Make room on disk for a model's chunks, instead of any other model's; answered by `DownloadOpened`."""

    model: bytes
    chunks: Chunks


class KeepChunk(NamedTuple):
    """Put a chunk of the open download on disk; not synced, since it is known again by its hash."""

    model: bytes
    start: int
    payload: bytes


class ReadDownload(NamedTuple):
    """All chunks of the open download are there; answered by `DownloadRead`."""

    model: bytes


class DropDownload(NamedTuple):
    """Remove all chunks from the disk but those of this model."""

    keep: bytes


class Train(NamedTuple):
    """Begin this work, once nothing else waits to be handled; it replaces any other."""

    work: Work


class Abandon(NamedTuple):
    """The work that was begun is not wanted any more."""


class SaveModel(NamedTuple):
    """The job's final model is here; this device's own, of a job before, goes."""

    work: Work


class SavePersonal(NamedTuple):
    """This device's own final model is made."""

    model: bytes
    """The content of its file."""


class Sleep(NamedTuple):
    """Close the link, once what was published has left."""

    seconds: int
    """Until the device comes back, for people."""


class Wake(NamedTuple):
    """Open a new link; subscriptions follow."""


class Finished(NamedTuple):
    """The job is over and this device has its model."""


class Log(NamedTuple):
    """A line for the log: `text` is `event.name key=%s …`."""

    level: int
    text: str
    args: tuple[object, ...] = ()


Action = (
    Subscribe
    | Unsubscribe
    | Publish
    | PublishFrame
    | Withdraw
    | PersistState
    | WriteDocument
    | Silent
    | Heard
    | StoreOutbox
    | DropOutbox
    | OpenDownload
    | KeepChunk
    | ReadDownload
    | DropDownload
    | Train
    | Abandon
    | SaveModel
    | SavePersonal
    | Sleep
    | Wake
    | Finished
    | Log
)
