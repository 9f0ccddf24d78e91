"""Decides whether an update is believed: the checks in the order of their cost, each with its own reason. Pure.

`screen` costs no cryptography. What passes it is verified (`believe`); only then does a refusal earn a receipt.
`examine` opens and reads it.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from aggregator.bases import Base, max_staleness
from aggregator.fleet import Device, Fleet
from aggregator.records import Answer, RoundRecord, Standing
from fedloom.errors import Reason, Refused
from fedloom.job import Job
from fedloom.learning.layout import Vector
from fedloom.learning.metrics import Metrics
from fedloom.learning.plan import TrainPlan
from fedloom.learning.standardise import Moments
from fedloom.msgpack import decode
from fedloom.trust.documents import Root
from fedloom.wire import encoding, envelope, records
from fedloom.wire.envelope import Envelope, Type
from fedloom.wire.messages import MAX_TEXT, Phase, Update, Verdict

_BODY_OVERHEAD_BYTES = 4096
"""All of an update's body but the vector and the metrics, declined reason included."""
_ANY_BYTES = 2**31
"""Of an app's reply: `limits.max_update_bytes` is its bound."""
_MAX_SUM = 1e300
"""Metrics up to here stay finite when those of a hundred million devices are added up."""
_NORM_PART = 8192
"""Weights whose squares are added at once: they fit the processor's first cache."""
_MAX_LOSS = float(np.finfo(np.float32).max)
"""Of one sample: a device computes it in float32."""


class Candidate(NamedTuple):
    """A message that claims to be an update and costs a signature check to refuse."""

    device: Device
    envelope: Envelope
    digest: bytes
    base: Base | None
    """The round that it answers; None: an older one of this job, to which no answer counts any more."""


class Gate:
    """What admission compares with, for one round."""

    def __init__(
        self,
        fleet: Fleet,
        root: Root,
        job: Job,
        opened: RoundRecord,
        max_update_bytes: int,
        older: Iterable[Base] = (),
        *,
        plan: TrainPlan | None = None,
        is_restored: bool = False,
        opened_s: float | None = None,
        counts_classes: bool = False,
    ) -> None:
        """`older`: the rounds before, answers to which still count; `is_restored`: there were others that are lost.

        `plan`: what the devices are asked to do; None is the job's own. `opened_s`: as in `Base`; `counts_classes`: as
        in `aggregator.cohorts.base.Rule`.
        """
        self.fleet = fleet
        self.root = root
        self.job = job
        self.plan = plan or job.training
        self.opened = opened
        self.is_restored = is_restored
        self.counts_classes = counts_classes
        self.own = Base(opened, root.suite, self.plan, opened_s)
        self.bases = {each.record.manifest_hash: each for each in (*older, self.own)}
        """By the hash of their manifests."""
        self.is_buffer = max_staleness(job, opened.phase) > 0
        self.weights: Vector = np.empty(job.shared_layout.size if opened.phase is Phase.TRAIN else 0, np.float32)
        """Where vectors are decoded to be looked at; used again for each."""
        self.models = len(job.figures_of(trains=opened.phase is Phase.TRAIN))
        """That a device evaluates: the round's, and its own where the job has such."""
        self.metrics_bytes = self.models * _metrics_bytes(job)
        self.max_plain_bytes = _max_plain_bytes(job, self.plan, opened.phase)
        self.max_bytes = min(max_update_bytes, self.max_plain_bytes + envelope.MAX_OVERHEAD_BYTES)


def largest_update_bytes(job: Job, plan: TrainPlan) -> int:
    """Bytes that the envelope of an update of this job may need, its strategy having made `plan`."""
    phases = (Phase.TRAIN, Phase.EVALUATE, *((Phase.STATISTICS,) if job.data.standardise else ()))
    return max(_max_plain_bytes(job, plan, phase) for phase in phases) + envelope.MAX_OVERHEAD_BYTES


def screen(topic: str, blob: bytes, gate: Gate) -> Candidate:
    """The checks that need no cryptography.

    Raises:
        Refused: the message is dropped and counted.
    """
    message = envelope.parse(blob, gate.max_bytes)
    header = message.header
    if header.type is not Type.UPDATE:
        raise Refused(Reason.UNKNOWN_TYPE)
    device = gate.fleet.sender(topic, header)
    if header.sender_key != device.verifying.id:
        raise Refused(Reason.UNKNOWN_KEY)
    if header.job != gate.opened.job:
        raise Refused(Reason.WRONG_JOB)
    base = None if _is_late(message, gate) else gate.bases[header.manifest]
    if base:
        _check_invited(message, base)
    return Candidate(device, message, message.digest, base)


def believe(candidate: Candidate) -> None:
    """Check the signature.

    Raises:
        Refused: the message is dropped and counted.
    """
    candidate.envelope.verify(candidate.device.verifying)


def examine(candidate: Candidate, gate: Gate, utc_s: float) -> Answer:
    """Open a believed update and check all that it says.

    Raises:
        Refused: the device gets a receipt with the reason.
    """
    base = candidate.base
    if base is None or base.seal_key is None:
        raise Refused(Reason.NOT_INVITED)
    device, message = candidate.device, candidate.envelope
    if device.credential.not_after < utc_s:
        raise Refused(Reason.EXPIRED, "the device's credential is too old")
    if message.header.plain_length > gate.max_plain_bytes:
        raise Refused(Reason.TOO_LARGE)
    plain = message.open(base.seal_key)
    update = decode(plain, Update)
    reason = printable(update.declined)
    answer = Answer(
        device.id,
        candidate.digest,
        Verdict.DECLINED,
        reason,
        size_bytes=len(message.blob),
        base=base.record.manifest_version,
    )
    if update.declined:
        return answer
    _check_counts(update, base, gate.job)
    _check_vector(update, message.header.encoding, gate)
    _check_control(update, gate)
    _check_loss(update, gate)
    _check_metrics(update.metrics, device.id in base.evaluating, gate)
    return answer._replace(
        verdict=Verdict.ACCEPTED,
        samples=update.samples,
        train_loss=update.train_loss,
        encoding=message.header.encoding,
        body=plain,
        standing=_standing(device, update, base, gate),
    )


def _standing(device: Device, update: Update, base: Base, gate: Gate) -> Standing | None:
    """What the update tells of its device."""
    match base.record.phase:
        case Phase.STATISTICS:
            return Standing(device.id, update.samples)
        case Phase.TRAIN:
            trained = update.train_loss / update.samples if update.samples else 0.0
            loss = trained if update.loss is None else update.loss
            counts = _class_counts(update.metrics, gate) if gate.counts_classes and update.metrics else ()
            return Standing(device.id, update.samples, loss, class_counts=counts, answered=base.record.round)
        case _:
            return None


def _class_counts(data: bytes, gate: Gate) -> tuple[int, ...]:
    of_the_rounds_model = np.frombuffer(data, "<f8").reshape(gate.models, -1)[0]
    metrics = Metrics.from_vector(of_the_rounds_model, gate.job.training.loss, gate.job.model.outputs)
    return tuple(int(count) for count in metrics.confusion.sum(axis=1))


def _max_plain_bytes(job: Job, plan: TrainPlan, phase: Phase) -> int:
    models = len(job.figures_of(trains=phase is Phase.TRAIN))
    return _vector_bytes(job, plan, phase) + models * _metrics_bytes(job) + _BODY_OVERHEAD_BYTES


def _vector_bytes(job: Job, plan: TrainPlan, phase: Phase) -> int:
    if phase is Phase.TRAIN:
        vectors = 2 if plan.correction == "scaffold" else 1
        return vectors * _encoded_bytes(job)
    if phase is Phase.EXCHANGE:
        return _ANY_BYTES
    return 8 * (1 + 2 * job.model.inputs) if phase is Phase.STATISTICS else 0


def _encoded_bytes(job: Job) -> int:
    return encoding.encoded_bytes(job.update.encoding, job.shared_layout.size, job.update.options)


def _metrics_bytes(job: Job) -> int:
    return 8 * Metrics.length(job.training.loss, job.model.outputs)


def printable(text: str) -> str:
    """A device's words as a terminal and a log may show them: one short line, no control sequences."""
    text = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
    return "".join(each if each.isprintable() else "·" for each in text)


def _check_invited(message: Envelope, base: Base) -> None:
    if message.header.sender not in base.invited or base.seal_key is None:
        raise Refused(Reason.NOT_INVITED)
    if message.header.recipient_key != base.seal_key.id:
        raise Refused(Reason.WRONG_RECIPIENT)


def _is_late(message: Envelope, gate: Gate) -> bool:
    """Whether it answers a round that counts no more; one that answers no round of the past or present is refused."""
    header, opened = message.header, gate.opened
    if base := gate.bases.get(header.manifest):
        if (header.round, header.attempt) != (base.record.round, base.record.attempt):
            raise Refused(Reason.WRONG_ROUND)
        return base.record.phase is Phase.DONE
    if gate.is_restored:  # a later round than ours may be one that was lost
        return True
    if (header.round, header.attempt) < (opened.round, opened.attempt):
        return True
    if (header.round, header.attempt) == (opened.round, opened.attempt):
        if opened.phase is Phase.DONE:  # the final evaluation bears the same number
            return True
        raise Refused(Reason.WRONG_MANIFEST)
    raise Refused(Reason.WRONG_ROUND)


def _check_counts(update: Update, base: Base, job: Job) -> None:
    if update.samples > job.update.max_samples:
        raise Refused(Reason.SAMPLES_EXCEEDED, f"{update.samples} samples, {job.update.max_samples} allowed")
    most = base.plan.steps(update.samples) if base.record.phase is Phase.TRAIN else 0
    if update.steps > most:
        raise Refused(Reason.STEPS_EXCEEDED, f"{update.steps} steps on {update.samples} samples, {most} planned")
    if not 0.0 <= update.train_loss <= update.samples * _MAX_LOSS:  # NaN is not
        raise Refused(Reason.NON_FINITE, "the training loss is negative, not finite, or more than its samples can have")


def _check_vector(update: Update, code: int, gate: Gate) -> None:
    phase = gate.opened.phase
    if code != (encoding.CODES[gate.job.update.encoding] if phase is Phase.TRAIN else 0):
        raise Refused(Reason.WRONG_ENCODING, f"encoding {code}")
    if phase is Phase.TRAIN:
        _check_decoded(update.vector, gate, gate.job.update.max_norm, "norm")
    elif phase is Phase.EXCHANGE:
        records.read_reply(update.vector)
    elif phase is Phase.STATISTICS:
        _check_moments(update, gate.job)
    elif update.vector:
        raise Refused(Reason.WRONG_LENGTH, "a vector where none was asked for")


def _check_control(update: Update, gate: Gate) -> None:
    if gate.opened.phase is Phase.TRAIN and gate.plan.correction == "scaffold":
        _check_decoded(update.control, gate, gate.job.update.max_control_norm, "norm of the control variate's change")
    elif update.control:
        raise Refused(Reason.WRONG_LENGTH, "a control variate where none was asked for")


def _check_decoded(data: bytes, gate: Gate, most: float, what: str) -> None:
    if len(data) != (expected := _encoded_bytes(gate.job)):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes, {expected} expected")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not finite, and is refused
        encoding.decode(data, gate.job.update.encoding, gate.weights)
    norm = _norm(gate.weights)
    if norm > most:
        raise Refused(Reason.NORM_EXCEEDED, f"{what} {norm:.3g}, {most:.3g} allowed")


def _check_loss(update: Update, gate: Gate) -> None:
    is_asked = gate.opened.phase is Phase.TRAIN and gate.plan.measure_loss
    if (update.loss is not None) != is_asked:
        raise Refused(Reason.BAD_METRICS, f"{'no loss' if is_asked else 'a loss'} of the model before training")
    if update.loss is not None and not 0.0 <= update.loss <= _MAX_LOSS:  # NaN is not
        raise Refused(Reason.NON_FINITE, "the loss before training is negative, not finite, or too large")


def _norm(vector: Vector) -> float:
    """In float64, where no square overflows; by parts, because a copy of all of it costs more than the sum."""
    squares = 0.0
    for start in range(0, vector.size, _NORM_PART):
        part = vector[start : start + _NORM_PART].astype(np.float64)
        squares += float(part @ part)
    return math.sqrt(squares)


def _check_moments(update: Update, job: Job) -> None:
    if len(update.vector) != 8 * (1 + 2 * job.model.inputs):
        raise Refused(Reason.WRONG_LENGTH, f"{len(update.vector)} bytes of moments")
    vector = np.frombuffer(update.vector, "<f8")
    if not np.isfinite(vector).all():
        raise Refused(Reason.NON_FINITE)
    try:
        moments = Moments.from_vector(vector, job.model.inputs)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, str(error)) from None
    if moments.samples != update.samples:
        raise Refused(Reason.SAMPLES_EXCEEDED, f"moments of {moments.samples} samples in an update of {update.samples}")
    magnitude = float(moments.magnitudes.max())
    if magnitude > job.update.max_feature:
        allowed = f"{job.update.max_feature:.3g} allowed (update.max_feature)"
        raise Refused(Reason.NORM_EXCEEDED, f"a feature's root mean square is {magnitude:.3g}, {allowed}")


def _check_metrics(data: bytes, is_asked: bool, gate: Gate) -> None:
    if not data:
        if gate.opened.phase is Phase.EVALUATE:
            raise Refused(Reason.BAD_METRICS, "none where nothing else was asked for")
        return
    if not is_asked:
        raise Refused(Reason.BAD_METRICS, "metrics that were not asked for")
    if len(data) != gate.metrics_bytes:
        raise Refused(Reason.BAD_METRICS, f"{len(data)} bytes, {gate.metrics_bytes} expected")
    sums = np.frombuffer(data, "<f8")
    if not (np.abs(sums) <= _MAX_SUM).all():  # NaN is not
        raise Refused(Reason.BAD_METRICS, "not finite, or too large to be added up")
    loss, outputs = gate.job.training.loss, gate.job.model.outputs
    try:
        counts = {Metrics.from_vector(own, loss, outputs).samples for own in sums.reshape(gate.models, -1)}
    except ValueError as error:
        raise Refused(Reason.BAD_METRICS, str(error)) from None
    if len(counts) > 1:
        raise Refused(Reason.BAD_METRICS, "two models were not evaluated on the same samples")
    if max(counts) > gate.job.update.max_samples:
        raise Refused(Reason.BAD_METRICS, f"{max(counts)} samples, {gate.job.update.max_samples} allowed")
