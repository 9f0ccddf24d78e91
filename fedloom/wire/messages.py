"""The bodies of messages: Structs that travel as msgpack arrays, read with `fedloom.msgpack.decode`."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from fedloom.compression import Encoding, EncodingOptions
from fedloom.job.data import Data
from fedloom.learning.personal import Personal
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.names import MAX_NAME
from fedloom.trust.suites import SealSuite
from fedloom.trust.tokens import Broker

MAX_MANIFEST_BYTES = 120 * 1024
MAX_TASK_BYTES = 4 * 1024
MAX_RECEIPT_BYTES = 4 * 1024
MAX_MISSING_BYTES = 9 * 1024
MAX_PRESENCE_BYTES = 4 * 1024
MAX_ENROL_BYTES = 8 * 1024
MAX_MEMBERSHIP_BYTES = 16 * 1024
MAX_TEXT = 300
"""Characters of a reason or a name."""
UNASKED = bytes(32)
"""What a renewal answers."""

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
HashOrNone = Annotated[bytes, msgspec.Meta(max_length=32)]
Id = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class Phase(StrEnum):
    """What a round is for."""

    STATISTICS = "statistics"
    """Devices send the moments of their features; their sum becomes the model's input layer."""
    TRAIN = "train"
    EVALUATE = "evaluate"
    """The last round: devices only evaluate the final model."""
    DONE = "done"
    """The job is over; this manifest names its final model."""
    EXCHANGE = "exchange"
    """Devices hand a request to an app of theirs and answer with its reply, see fedloom.wire.records."""


class ModelRef(msgspec.Struct, frozen=True, array_like=True):
    """The sealed model that goes with a manifest; its chunks are fetched by hash."""

    version: Count
    plain_hash: Hash
    cipher_hash: Hash
    cipher_bytes: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1, le=120 * 1024)]
    chunk_hashes: tuple[Hash, ...]
    control_hash: HashOrNone = b""
    """SHA-256 of the server's control variate, which follows the model; empty where the strategy sends none."""


class Closed(msgspec.Struct, frozen=True, array_like=True):
    """How the round before ended."""

    round: Count
    attempt: Count
    outcome: Literal["done", "aborted"]


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What the whole fleet may know of a round; signed, clear, retained."""

    version: Annotated[int, msgspec.Meta(ge=1)]
    """Rises by one with each manifest of the federation, so that an old one is never taken for new."""
    previous: Hash
    """SHA-256 of the manifest before; zeros for the first."""
    job: Id
    round: Count
    attempt: Count
    phase: Phase
    closes: Closed | None
    suite: SealSuite
    round_key: bytes
    """The HPKE public key that updates of this round are sealed to; empty when DONE."""
    deadline_s: float
    max_staleness: Count
    """How many manifests later an answer to this one still counts; 0 in a synchronous round, where the next manifest
    ends it for everybody."""
    issued_at: Count
    """Seconds since 1970 (UTC) on the aggregator's clock: a floor for a device whose own clock may be wrong."""
    brief: bytes
    """The sealed `Brief`, see fedloom.wire.brief."""
    model: ModelRef | None
    """None in the statistics round."""


class Brief(msgspec.Struct, frozen=True, array_like=True):
    """What the devices do in a round, for the invited ones alone: names of classes and features can be telling."""

    job_name: Text
    spec: ModelSpec
    data: Data
    plan: TrainPlan
    encoding: Encoding
    seed: Count
    options: EncodingOptions = EncodingOptions()
    """Of the encoding."""
    personal: Personal | None = None
    """What each device keeps for itself; None: there is one model for all."""
    error_feedback: bool = True
    """Whether what the encoding has lost is kept and added to the next update."""


class Task(msgspec.Struct, frozen=True, array_like=True):
    """An invitation to one device, sealed to it. Its header carries job, round, attempt and manifest hash."""

    train: bool
    evaluate: bool
    brief_key: Key
    """The AES-256 key of the manifest's brief, used for that one message."""
    model_key: Annotated[bytes, msgspec.Meta(max_length=32)]
    """The AES-256 key of the manifest's model, likewise; empty in the statistics round."""
    counted: HashOrNone = b""
    """Where the plan has a correction: SHA-256 of the envelope of this device's last update of this job that is in a
    model. It tells the device how far what it remembers has come. Empty: there is none."""
    max_update_bytes: Count = 0
    """Of the envelope of an update that the aggregator takes; an app's reply may be of any size. 0: it does not say."""


class Update(msgspec.Struct, frozen=True, array_like=True):
    """A device's one answer to a task, sealed to the round's key."""

    samples: Count
    """Samples that the device trained on: its weight in the mean."""
    steps: Count
    train_loss: float
    """Sum of the training loss over the samples of the last epoch."""
    vector: bytes
    """The encoded weight difference, of the shared weights alone where a head stays on the device; in the statistics
    round float64 moments; in an exchange an app's reply; empty if it did not train."""
    metrics: bytes
    """Float64 metric sums of the manifest's model on the device's hold-out, and behind them those of its own model
    where it has one that is measured now; empty if it did not evaluate."""
    declined: Text
    """Why the device does not take part; empty if it does."""
    loss: float | None = None
    """Mean loss of the round's model on the samples that the device trained on, before it did; None unless the plan
    asks."""
    control: bytes = b""
    """The change of the device's control variate, encoded as `vector` is; empty unless the plan asks (SCAFFOLD)."""


class Verdict(StrEnum):
    """What became of an update."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    REJECTED = "rejected"
    LATE = "late"


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """The aggregator's word on an update, sealed to the device. The same update again gets the same receipt."""

    digest: Hash
    """SHA-256 of the update's whole envelope."""
    verdict: Verdict
    reason: Text
    come_back_s: Annotated[int, msgspec.Meta(ge=0, le=2_592_000)]
    """Pace steering (Bonawitz et al. 2019, arXiv:1902.01046, section 2.3): a device that sleeps between rounds is
    wanted again after so many seconds; 0 where it may as well stay."""


class Missing(msgspec.Struct, frozen=True, array_like=True):
    """The aggregator's word on a transfer that is not complete, sealed to the device: which frames it lacks."""

    transfer: Id
    """See fedloom.wire.chunks."""
    frames: Annotated[bytes, msgspec.Meta(max_length=8192)]
    """A bit for each frame, the first one the highest bit of the first byte; 1 where it is missing."""


class Admission(StrEnum):
    """What became of a device's wish to join."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    """Somebody has to approve it; ask again."""
    REFUSED = "refused"


class Capabilities(msgspec.Struct, frozen=True, array_like=True):
    """What a device says that it is; a hint for people only."""

    software: Text
    machine: Text
    """As in `uname -m`."""
    cpus: Count
    memory_mib: Count


class Presence(msgspec.Struct, frozen=True, array_like=True):
    """What a device says of itself; a hint only. `lost` is its last will."""

    state: Literal["ready", "sleeping", "disconnected", "lost"]
    """`sleeping`: it comes back by itself, see `Receipt.come_back_s`."""
    software: Text
    not_after: Count
    """Of the credential that the device holds: the registrar renews it in time, unasked."""


class Enrol(msgspec.Struct, frozen=True, array_like=True):
    """A device asks to join, sealed to the registrar. The envelope's sender is the token's id, its signature is by
    `signing`: proof that the device holds that key.
    """

    secret: Key
    """The token's; the registrar has its SHA-256 alone."""
    signing: Key
    seal: Annotated[bytes, msgspec.Meta(min_length=32, max_length=2048)]
    request: Annotated[bytes, msgspec.Meta(max_length=2048)]
    """PKCS #10 certificate signing request (DER) of the device's P-256 key for TLS (RFC 2986)."""
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
    """What the device would like to be called; the registrar decides."""
    capabilities: Capabilities


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """The registrar's word to one device, sealed to it: the answer to `Enrol`, or a renewal."""

    answers: Hash
    """SHA-256 of the `Enrol` envelope that this answers, so that an old answer is not taken for a new one;
    UNASKED in a renewal."""
    verdict: Admission
    reason: Text
    credential: Annotated[bytes, msgspec.Meta(max_length=8192)]
    """The signed document; empty unless accepted."""
    certificate: Annotated[bytes, msgspec.Meta(max_length=4096)]
    """X.509 (DER) of the device's TLS key, from the registrar's authority; empty unless accepted."""
    broker: Broker | None
    """Where the device finds its broker from now on; None unless accepted."""
