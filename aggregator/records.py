"""What the aggregator remembers, as plain records: the coordinator writes them, the store keeps them."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from fedloom.learning.layout import Vector
from fedloom.learning.standardise import Standardiser
from fedloom.wire.messages import Closed, Phase, Verdict

Outcome = Literal["done", "aborted"]
Figures = dict[str, float]


class DeviceRecord(NamedTuple):
    """A device that the registrar has given a credential."""

    id: bytes
    name: str
    credential: bytes
    revoked: bool
    tls_key: bytes
    """SubjectPublicKeyInfo (DER)."""
    labels: str = "{}"
    """To find it by, JSON: {key: value}."""


class CurrentModel(NamedTuple):
    """A version of the global model."""

    version: int
    weights: Vector
    standardiser: Standardiser | None


class Invitation(NamedTuple):
    """What one device is asked to do in a round."""

    device: bytes
    train: bool
    evaluate: bool


class Standing(NamedTuple):
    """What is known of a device, for rules that choose by it; the device has told it, but for `seconds` and `asked`."""

    device: bytes
    samples: int = 0
    """That it trains on; 0: not known."""
    loss: float | None = None
    """Mean over the samples, when it trained last: before, where the plan asks for that, else in the last epoch."""
    seconds: float | None = None
    """From that round's manifest to its answer; None where another process had opened the round."""
    class_counts: tuple[int, ...] = ()
    """Of its hold-out; empty where it has evaluated nothing yet, or the rule does not ask."""
    asked: int = 0
    """The last round that it was invited to train in; 0: none."""
    answered: int = 0
    """The last round that it trained in; 0: none."""


class RoundRecord(NamedTuple):
    """A round as it was opened; its manifest's version names it in the whole federation."""

    manifest_version: int
    manifest_hash: bytes
    manifest: bytes
    """The signed envelope."""
    job: bytes
    round: int
    attempt: int
    phase: Phase
    round_key: bytes
    """Private HPKE key of the round; erased when no answer to it counts any more. Empty when DONE."""
    brief_key: bytes
    """AES key of the manifest's brief."""
    model_key: bytes
    """AES key of the sealed model; empty in the statistics round."""
    model_version: int | None
    target: int
    """Updates that are aimed at."""
    invitations: tuple[Invitation, ...]


AnswerKey = tuple[bytes, int]
"""The device, and the version of the manifest that it answers: of each pair one answer counts."""


class Answer(NamedTuple):
    """A device's valid answer in a round: what makes its receipt repeatable, and the body for the spool."""

    device: bytes
    digest: bytes
    verdict: Verdict
    reason: str
    samples: int = 0
    train_loss: float = 0.0
    """Sum over the samples."""
    size_bytes: int = 0
    """Of the envelope."""
    encoding: int = 0
    body: bytes = b""
    """Plain update, for the spool; empty once stored and when declined."""
    base: int = 0
    """Version of the manifest that it answers; that of its round, or in an asynchronous job perhaps an older one."""
    standing: Standing | None = None
    """What is known of the device with it, where that changes."""

    @property
    def key(self) -> AnswerKey:
        """What names it."""
        return self.device, self.base


class SpoolEntry(NamedTuple):
    """Where an accepted update lies in the segment of the round that counts it."""

    device: bytes
    samples: int
    offset: int
    length: int
    base: int = 0
    """As in `Answer`."""
    staleness: int = 0
    """Versions of the model that lie between the one it was trained from and the one that it is added to."""

    @property
    def key(self) -> AnswerKey:
        """Orders the updates of a round, so that the order in which they came does not matter."""
        return self.device, self.base


class ClosedRound(NamedTuple):
    """How a round ended."""

    manifest_version: int
    outcome: Outcome
    reason: str
    metrics: Figures
    """Of the model that the round started from, over all devices that evaluated it."""
    strategy_state: bytes
    keys_from: int
    """Answers to manifests before this version count no more: the keys of their rounds are erased."""
    build: str = ""
    """What fused it, see aggregator.build; the archive knows."""


class NewModel(NamedTuple):
    """A model version to be made durable."""

    model: CurrentModel
    hash: bytes
    round: int
    devices: int
    samples: int


class Snapshot(NamedTuple):
    """All that a coordinator needs to carry on where the process before it was killed."""

    job: bytes
    """The run's id."""
    last_version: int = 0
    last_hash: bytes = bytes(32)
    """Of the federation's newest manifest, whatever job it was for; or higher, see `aggregator.backup.leap`."""
    manifests: tuple[bytes, ...] = ()
    """The federation's two newest manifests, newest first: the chunks of their models may be retained by the broker."""
    closes: Closed | None = None
    """How another run's round before this run's first one ended; its manifest tells."""
    newest: RoundRecord | None = None
    """This run's newest round."""
    outcome: Outcome | None = None
    """How that ended; None while it is open."""
    answers: tuple[Answer, ...] = ()
    """To the newest round."""
    earlier: tuple[Answer, ...] = ()
    """That older rounds have counted, for receipts that were lost: to `bases`, and to the round before."""
    bases: tuple[RoundRecord, ...] = ()
    """The run's older rounds whose keys are kept, oldest first; not the newest round."""
    model: CurrentModel | None = None
    first_version: int = 0
    """Version of the run's initial model."""
    is_restored: bool = False
    """From a backup: devices may hold answers to rounds that are lost."""
    strategy_state: bytes = b""
    aborted_in_row: int = 0
    standings: tuple[Standing, ...] = ()
    """Of the devices, where the job's rule for cohorts looks at them."""
    history: tuple[Figures, ...] = ()
    """Metrics of the model before each closed round, oldest first, as far as `phases.remember` wants them."""
    counted: Mapping[bytes, bytes] = {}
    """See `Progress.counted`."""
