"""Decides whether an update is believed: the checks in the order of their cost, each with its own reason. Pure.

`screen` costs no cryptography. What passes it is verified (`believe`); only then does a refusal earn a receipt.
`examine` opens and reads it.
"""

from typing import NamedTuple

import numpy as np

from aggregator.fleet import Device, Fleet
from aggregator.records import Answer, RoundRecord
from fedloom.errors import Reason, Refused
from fedloom.job import Job
from fedloom.learning.layout import Vector
from fedloom.learning.metrics import Metrics
from fedloom.learning.standardise import Moments
from fedloom.msgpack import decode
from fedloom.trust.documents import Root
from fedloom.trust.seal import SealKey
from fedloom.wire import encoding, envelope
from fedloom.wire.envelope import Envelope, Type
from fedloom.wire.messages import Phase, Update, Verdict

_BODY_OVERHEAD_BYTES = 4096
"""All of an update's body but the vector and the metrics, declined reason included."""
_MAX_SUM = 1e300
"""Metrics up to here stay finite when those of a hundred million devices are added up."""
_MAX_LOSS = float(np.finfo(np.float32).max)
"""Of one sample: a device computes it in float32."""


class Candidate(NamedTuple):
    """A message that claims to be an update and costs a signature check to refuse."""

    device: Device
    envelope: Envelope
    digest: bytes
    is_late: bool
    """It answers an older round of this job."""


class Gate:
    """What admission compares with, for one round."""

    def __init__(self, fleet: Fleet, root: Root, job: Job, opened: RoundRecord, max_update_bytes: int) -> None:
        self.fleet = fleet
        self.root = root
        self.job = job
        self.opened = opened
        self.invited = frozenset(each.device for each in opened.invitations)
        self.evaluating = frozenset(each.device for each in opened.invitations if each.evaluate)
        self.seal_key = SealKey(root.suite, opened.round_key) if opened.round_key else None
        self.weights: Vector = np.empty(job.model.layout().size if opened.phase is Phase.TRAIN else 0, np.float32)
        """Where vectors are decoded to be looked at; used again for each."""
        self.metrics_bytes = _metrics_bytes(job)
        self.max_plain_bytes = _max_plain_bytes(job, opened.phase)
        self.max_bytes = min(max_update_bytes, self.max_plain_bytes + envelope.MAX_OVERHEAD_BYTES)


def largest_update_bytes(job: Job) -> int:
    """Bytes that the envelope of an update of this job may need."""
    phases = (Phase.TRAIN, Phase.STATISTICS) if job.data.standardise else (Phase.TRAIN,)
    return max(_max_plain_bytes(job, phase) for phase in phases) + envelope.MAX_OVERHEAD_BYTES


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
    is_late = _is_late(message, gate.opened)
    if not is_late:
        _check_invited(message, gate)
    return Candidate(device, message, message.digest, is_late)


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
    if gate.seal_key is None:
        raise Refused(Reason.NOT_INVITED)
    device, message = candidate.device, candidate.envelope
    if device.credential.not_after < utc_s:
        raise Refused(Reason.EXPIRED, "the device's credential is too old")
    if message.header.plain_length > gate.max_plain_bytes:
        raise Refused(Reason.TOO_LARGE)
    plain = message.open(gate.seal_key)
    update = decode(plain, Update)
    reason = _printable(update.declined)
    answer = Answer(device.id, candidate.digest, Verdict.DECLINED, reason, size_bytes=len(message.blob))
    if update.declined:
        return answer
    _check_counts(update, gate.job)
    _check_vector(update, message.header.encoding, gate)
    _check_metrics(update.metrics, device.id, gate)
    return answer._replace(
        verdict=Verdict.ACCEPTED,
        samples=update.samples,
        train_loss=update.train_loss,
        encoding=message.header.encoding,
        body=plain,
    )


def _max_plain_bytes(job: Job, phase: Phase) -> int:
    return _vector_bytes(job, phase) + _metrics_bytes(job) + _BODY_OVERHEAD_BYTES


def _vector_bytes(job: Job, phase: Phase) -> int:
    if phase is Phase.TRAIN:
        return encoding.encoded_bytes(job.update.encoding, job.model.layout().size)
    return 8 * (1 + 2 * job.model.inputs) if phase is Phase.STATISTICS else 0


def _metrics_bytes(job: Job) -> int:
    return 8 * Metrics.length(job.training.loss, job.model.outputs)


def _printable(text: str) -> str:
    """A device's words as a terminal and a log may show them: one line, no control sequences."""
    return "".join(each if each.isprintable() else "·" for each in text)


def _check_invited(message: Envelope, gate: Gate) -> None:
    if message.header.sender not in gate.invited or gate.seal_key is None:
        raise Refused(Reason.NOT_INVITED)
    if message.header.recipient_key != gate.seal_key.id:
        raise Refused(Reason.WRONG_RECIPIENT)


def _is_late(message: Envelope, opened: RoundRecord) -> bool:
    """Whether it answers an older round; one that answers neither that nor this round is refused."""
    header = message.header
    if header.manifest == opened.manifest_hash:
        if (header.round, header.attempt) != (opened.round, opened.attempt):
            raise Refused(Reason.WRONG_ROUND)
        return opened.phase is Phase.DONE
    if (header.round, header.attempt) < (opened.round, opened.attempt):
        return True
    if (header.round, header.attempt) == (opened.round, opened.attempt):
        if opened.phase is Phase.DONE:  # the final evaluation bears the same number
            return True
        raise Refused(Reason.WRONG_MANIFEST)
    raise Refused(Reason.WRONG_ROUND)


def _check_counts(update: Update, job: Job) -> None:
    if update.samples > job.update.max_samples:
        raise Refused(Reason.SAMPLES_EXCEEDED, f"{update.samples} samples, {job.update.max_samples} allowed")
    if not 0.0 <= update.train_loss <= update.samples * _MAX_LOSS:  # NaN is not
        raise Refused(Reason.NON_FINITE, "the training loss is negative, not finite, or more than its samples can have")


def _check_vector(update: Update, code: int, gate: Gate) -> None:
    phase = gate.opened.phase
    if code != (encoding.CODES[gate.job.update.encoding] if phase is Phase.TRAIN else 0):
        raise Refused(Reason.WRONG_ENCODING, f"encoding {code}")
    if phase is Phase.TRAIN:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not finite, and is refused
            encoding.decode(update.vector, gate.job.update.encoding, gate.weights)
        norm = float(np.linalg.norm(gate.weights.astype(np.float64)))
        if norm > gate.job.update.max_norm:
            raise Refused(Reason.NORM_EXCEEDED, f"norm {norm:.3g}, {gate.job.update.max_norm:.3g} allowed")
    elif phase is Phase.STATISTICS:
        _check_moments(update, gate.job)
    elif update.vector:
        raise Refused(Reason.WRONG_LENGTH, "a vector where none was asked for")


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


def _check_metrics(data: bytes, device: bytes, gate: Gate) -> None:
    if not data:
        if gate.opened.phase is Phase.EVALUATE:
            raise Refused(Reason.BAD_METRICS, "none where nothing else was asked for")
        return
    if device not in gate.evaluating:
        raise Refused(Reason.BAD_METRICS, "metrics that were not asked for")
    if len(data) != gate.metrics_bytes:
        raise Refused(Reason.BAD_METRICS, f"{len(data)} bytes, {gate.metrics_bytes} expected")
    sums = np.frombuffer(data, "<f8")
    if not (np.abs(sums) <= _MAX_SUM).all():  # NaN is not
        raise Refused(Reason.BAD_METRICS, "not finite, or too large to be added up")
    try:
        metrics = Metrics.from_vector(sums, gate.job.training.loss, gate.job.model.outputs)
    except ValueError as error:
        raise Refused(Reason.BAD_METRICS, str(error)) from None
    if metrics.samples > gate.job.update.max_samples:
        raise Refused(Reason.BAD_METRICS, f"{metrics.samples} samples, {gate.job.update.max_samples} allowed")
