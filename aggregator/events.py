"""What the coordinator is told, and what it wants done. The shell carries actions out in their order."""

from typing import NamedTuple

from aggregator.enrolment.records import Decision, Grant, JoinRequest
from aggregator.exchange.letters import Entry, Letter, Settled
from aggregator.notices import AnyNotice
from aggregator.records import Answer, ClosedRound, DeviceRecord, Figures, NewModel, RoundRecord, Standing
from fedloom.learning.layout import Vector
from fedloom.learning.standardise import Standardiser
from fedloom.link.base import MQTT_MAX_PACKET_BYTES, Received, Sent
from fedloom.wire.records import Reply


class Now(NamedTuple):
    """The time of an event."""

    monotonic_s: float
    """For durations."""
    utc_s: float
    """For the validity of credentials."""


class Begin(NamedTuple):
    """The first event."""


class LinkUp(NamedTuple):
    """The broker is there (again); it may have lost everything that was retained."""

    max_payload_bytes: int = MQTT_MAX_PACKET_BYTES
    """Of an update that fits one message, as the broker says."""


class LinkDown(NamedTuple):
    """Nothing can be sent until `LinkUp`."""


class Unsent(NamedTuple):
    """The link's queue had no room for these: nothing of them was sent."""

    publishes: "tuple[Publish, ...]"


class Tick(NamedTuple):
    """A time that was asked for by `WakeAt` has come."""


class FleetChanged(NamedTuple):
    """Devices were added or revoked, tokens were made."""

    records: tuple[DeviceRecord, ...]
    tokens: frozenset[bytes]
    """The ids of all tokens."""


class Stored(NamedTuple):
    """These answers are durable."""

    answers: tuple[Answer, ...]


class FusionResult(NamedTuple):
    """What the accepted updates of a round add up to."""

    weights: Vector | None
    """(p,) after training."""
    standardiser: Standardiser | None
    """After the statistics round."""
    strategy_state: bytes
    metrics: Figures
    devices: int
    samples: int
    replies: tuple[tuple[bytes, Reply], ...] = ()
    """Of each device's app, after an exchange."""


class Fused(NamedTuple):
    """The result of a `Fuse`, or why there is none."""

    result: FusionResult | None
    reason: str


class Turned(NamedTuple):
    """The `Turn` is durable."""


class Decided(NamedTuple):
    """These requests to join are decided on, durably."""

    decisions: tuple[Decision, ...]


class Renewed(NamedTuple):
    """What devices should hold, durably."""

    grants: tuple[Grant, ...]


class Asked(NamedTuple):
    """An app on this host wants these delivered; each is settled once, by `Settle`."""

    letters: tuple[Letter, ...]


class Withdrawn(NamedTuple):
    """The app waits for these no longer: they are settled now, with what has come."""

    ids: frozenset[str]


class Ended(NamedTuple):
    """The app is through, and the run with it."""


ExchangeEvent = Asked | Withdrawn | Ended
JobEvent = (
    Begin | LinkUp | LinkDown | Sent | Unsent | Tick | FleetChanged | Received | Stored | Fused | Turned | ExchangeEvent
)
Event = JobEvent | Decided | Renewed


class Publish(NamedTuple):
    """Send a message; an empty retained payload clears what the broker has."""

    topic: str
    payload: bytes
    retain: bool = False
    tell: bool = False
    """Whether `Sent` is to come when the broker has it."""


class Acknowledge(NamedTuple):
    """Tell the broker that a message is dealt with."""

    received: Received


class Store(NamedTuple):
    """Make an answer durable; answered by `Stored`. Those that wait together are written together."""

    manifest_version: int
    answer: Answer


class Fuse(NamedTuple):
    """Fuse the stored updates of a round; answered by `Fused`."""

    opened: RoundRecord
    weights: Vector | None
    strategy_state: bytes
    standardiser: Standardiser | None = None
    """Of the model with these weights."""


class Turn(NamedTuple):
    """Close a round, save its model and open the next, all or nothing; answered by `Turned`."""

    closed: ClosedRound | None
    model: NewModel | None
    opened: RoundRecord | None
    standings: tuple[Standing, ...] = ()
    """What is known with it of the devices that it invites, where that is kept."""
    entry: Entry | None = None
    """For the journal of an app's run."""


class Decide(NamedTuple):
    """Decide on a request to join; answered by `Decided`. Those that wait together are decided together."""

    request: JoinRequest


class Renew(NamedTuple):
    """Renew a device's credential where that is due; answered by `Renewed`, with the newest in any case."""

    device: bytes
    at_s: float
    """Now, seconds since 1970 (UTC)."""


class WakeAt(NamedTuple):
    """Send a `Tick` at this time of the monotonic clock."""

    at_s: float


class Tell(NamedTuple):
    """Tell the operator."""

    notice: AnyNotice


class Warn(NamedTuple):
    """Log what somebody has to put right."""

    problem: str


class Resubscribe(NamedTuple):
    """Ask the broker for all retained presence again: some of it came from devices that were not known then."""


class Listen(NamedTuple):
    """Ask the broker for requests to join by these topic filters, and by no others any more."""

    filters: frozenset[str]


class Settle(NamedTuple):
    """Tell the app what became of its letters."""

    settled: tuple[Settled, ...]


class Finish(NamedTuple):
    """The job is done, and its devices are gone or have had time to take the result."""


Order = Store | Fuse | Turn | Decide | Renew
"""What the worker thread carries out."""
Action = Publish | Acknowledge | Order | WakeAt | Tell | Warn | Resubscribe | Listen | Settle | Finish
