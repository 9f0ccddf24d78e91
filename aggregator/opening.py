"""Makes a round: its keys, its manifest, the sealed model that goes with it. Pure but for the entropy handed in."""

from typing import NamedTuple

from aggregator.bases import max_staleness
from aggregator.cohort import Cohort
from aggregator.phases import Step
from aggregator.records import CurrentModel, RoundRecord
from aggregator.writer import Entropy, Writer
from fedloom import msgpack
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.job.updates import CHUNK_BYTES
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from fedloom.trust.documents import Root
from fedloom.trust.seal import SealKey, SealSuite
from fedloom.wire.brief import seal_brief
from fedloom.wire.messages import MAX_MANIFEST_BYTES, Brief, Closed, Manifest, ModelRef, Phase
from fedloom.wire.model_blob import SealedModel, plain_model, seal_model
from fedloom.wire.once import KEY_BYTES

_TAG_BYTES = 16
"""That sealing a model adds."""
_MAX_PUBLIC_BYTES = 1216
"""Of the hybrid suite."""
_PRIVATE_BYTES = {SealSuite.X25519: 32, SealSuite.HYBRID: 96}


class Broadcast(NamedTuple):
    """A model version as it is sent to everybody, and the key of it."""

    version: int
    key: bytes
    sealed: SealedModel


class Place(NamedTuple):
    """Where a manifest stands in the federation's chain."""

    job: bytes
    last_version: int
    last_hash: bytes
    closes: Closed | None


def broadcast(model: CurrentModel, control: Vector | None, key: bytes, chunk_bytes: int) -> Broadcast:
    """Seal a model, and the variate of the strategy that goes with it, under a key that is drawn for them alone; the
    same key gives the same bytes again.
    """
    plain = plain_model(model.weights, model.standardiser)
    beside = b"" if control is None else control.astype("<f4", copy=False).tobytes()
    return Broadcast(model.version, key, seal_model(plain, model.version, key, chunk_bytes, beside))


def new_model_key(entropy: Entropy) -> bytes:
    """For `broadcast`."""
    return entropy(KEY_BYTES)


class Opener:
    """Opens the rounds of one job."""

    def __init__(self, job: Job, root: Root, writer: Writer, entropy: Entropy) -> None:
        self._job = job
        self._root = root
        self._writer = writer
        self._entropy = entropy

    def open(
        self, step: Step, place: Place, plan: TrainPlan, cohort: Cohort, model: Broadcast | None, utc_s: float
    ) -> RoundRecord:
        """A new round, not yet durable: nothing of it may be sent before it is."""
        round_key = self._new_round_key() if step.phase is not Phase.DONE else None
        brief_key = self._entropy(KEY_BYTES)
        manifest = Manifest(
            version=place.last_version + 1,
            previous=place.last_hash,
            job=place.job,
            round=step.round,
            attempt=step.attempt,
            phase=step.phase,
            closes=place.closes,
            suite=self._root.suite,
            round_key=round_key.public if round_key else b"",
            deadline_s=self._job.rounds.deadline_s,
            max_staleness=max_staleness(self._job, step.phase),
            issued_at=int(utc_s),
            brief=seal_brief(_brief(self._job, plan), brief_key),
            model=model.sealed.ref if model else None,
        )
        blob, digest = self._writer.manifest(manifest)
        return RoundRecord(
            manifest_version=manifest.version,
            manifest_hash=digest,
            manifest=blob,
            job=place.job,
            round=step.round,
            attempt=step.attempt,
            phase=step.phase,
            round_key=round_key.private if round_key else b"",
            brief_key=brief_key,
            model_key=model.key if model else b"",
            model_version=model.version if model else None,
            target=cohort.target,
            invitations=cohort.invitations,
        )

    def _new_round_key(self) -> SealKey:
        return SealKey(self._root.suite, self._entropy(_PRIVATE_BYTES[self._root.suite]))


def check_manifest(job: Job, plan: TrainPlan, where: str) -> None:
    """Refuse a job that no device would hear of, its strategy having made `plan`; it is tried with the larger suite.

    Raises:
        ConfigError: its manifests are too large.
    """
    size = len(msgpack.encode(_largest_manifest(job, plan)))
    if size > MAX_MANIFEST_BYTES:
        problem = f"a round's manifest takes {size:,} bytes, {MAX_MANIFEST_BYTES:,} allowed"
        if job.update.chunk_bytes < CHUNK_BYTES:
            remedy = "it holds a hash of each chunk of the model: raise it, or shrink the model"
            raise ConfigError(where, "update.chunk_bytes", problem, remedy)
        raise ConfigError(where, "data", problem, "name fewer features and classes, or shorter, or shrink the model")


def _largest_manifest(job: Job, plan: TrainPlan) -> Manifest:
    vectors = 2 if plan.correction == "scaffold" else 1
    numbers = vectors * job.model.layout().size + (2 * job.model.inputs if job.data.standardise else 0)
    cipher_bytes, chunk_bytes = 4 * numbers + _TAG_BYTES, job.update.chunk_bytes
    zeros, most = bytes(32), 2**63 - 1
    return Manifest(
        version=most,
        previous=zeros,
        job=bytes(16),
        round=most,
        attempt=most,
        phase=Phase.STATISTICS,
        closes=Closed(most, most, "aborted"),
        suite=SealSuite.HYBRID,
        round_key=bytes(_MAX_PUBLIC_BYTES),
        deadline_s=job.rounds.deadline_s,
        max_staleness=most,
        issued_at=most,
        brief=seal_brief(_brief(job, plan), bytes(KEY_BYTES)),
        model=ModelRef(
            version=most,
            plain_hash=zeros,
            cipher_hash=zeros,
            cipher_bytes=cipher_bytes,
            chunk_bytes=chunk_bytes,
            chunk_hashes=(zeros,) * -(-cipher_bytes // chunk_bytes),
            control_hash=zeros if vectors > 1 else b"",
        ),
    )


def _brief(job: Job, plan: TrainPlan) -> Brief:
    update = job.update
    return Brief(
        job.name,
        job.model,
        job.data,
        plan,
        update.encoding,
        job.seed,
        update.options,
        job.personal,
        update.error_feedback,
    )
