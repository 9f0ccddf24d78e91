"""Targets that are somebody: an aggregator, a registrar or a device, and what each makes of what it hears."""

import warnings
from hashlib import sha256

import federation as f
import numpy as np
from cryptography.utils import CryptographyDeprecationWarning
from parsers import MAX_BYTES, MAX_TRANSFERS, pieces

from aggregator.admission import Candidate, examine, screen
from aggregator.assembler import Assembler
from aggregator.attendance import Attendance
from aggregator.cohorts.memory import Memory
from aggregator.cohorts.uniform import Uniform
from aggregator.enrolment.registrar import Registrar
from aggregator.enrolment.writer import MembershipWriter
from aggregator.events import Decide, Now, Store
from aggregator.intake import Intake
from aggregator.pace import Pace
from aggregator.round import RoundState
from aggregator.throttle import Throttle
from aggregator.writer import Writer
from edge_client.believe import Judge
from edge_client.events import Came, Connected, Started
from edge_client.membership import open_accepted, open_membership, open_renewal
from edge_client.rounds import Bounds
from edge_client.session import Session
from edge_client.state import DeviceState
from fedloom.errors import Reason, Refused
from fedloom.learning.plan import TrainPlan
from fedloom.link.base import Received
from fedloom.link.base import Token as PacketToken
from fedloom.wire import messages as m
from fedloom.wire.envelope import Envelope, Header, Type, parse, write_clear, write_sealed

NOW = Now(100.0, f.UTC_S)


def presence(data: bytes) -> None:
    """A device's presence message: the topic's kind, then the body, signed by the device."""
    fleet = _FLEET
    fleet._heard.clear()
    header = Header(Type.PRESENCE, f.FEDERATION, f.DEVICE, bytes(16), sequence=1)
    topic = f.TOPICS.state(f.DEVICE if not data or data[0] & 1 else f.AGGREGATOR)
    fleet.hear(topic, write_clear(header, data[1:], f.DEVICE_SIGNING), 0.0)


def screening(data: bytes) -> None:
    """The first checks of an update, which cost no cryptography."""
    screen(f.TOPICS.up(f.DEVICE), data, _GATES[0])


class _Opened(Envelope):
    """A message whose body has been opened."""

    def open(self, key: object) -> bytes:
        return self.blob


def admission(data: bytes) -> None:
    """Which round and which encoding the header names, then the plain body of an update."""
    if len(data) < 2:
        return
    gate, plain = _GATES[data[0] % len(_GATES)], data[2:]
    header = Header(Type.UPDATE, f.FEDERATION, f.DEVICE, bytes(16), encoding=data[1], plain_length=len(plain))
    candidate = Candidate(gate.fleet.get(f.DEVICE), _Opened(header, plain), bytes(32), gate.own)
    answer = examine(candidate, gate, f.UTC_S)
    assert answer.samples <= 1000
    assert np.isfinite(answer.train_loss)
    if answer.verdict is m.Verdict.ACCEPTED and gate.weights.size:
        assert np.linalg.norm(gate.weights) <= 1000.001
    assert answer.reason.isprintable()


def intake(data: bytes) -> None:
    """A stream of messages on a device's uplink: raw, signed in clear, or signed and sealed. Nothing is ever raised."""
    gate = _GATES[0]
    opened, fleet = gate.opened, gate.fleet
    state = RoundState(opened.phase, [f.DEVICE], 1, gate.job.rounds, 1e9)
    writer = Writer(f.ROOT, f.AGGREGATOR, f.AGGREGATOR_SIGNING, bytes)
    assembler, attendance = Assembler(gate.max_bytes, MAX_TRANSFERS), Attendance(fleet, gate.job.rounds)
    pace, memory = Pace(fleet, 10.0, gate.job), Memory(Uniform())
    taking = Intake(gate, state, {}, writer, assembler, Throttle(fleet), attendance, pace, memory)
    stored = 0
    for how, piece in pieces(data):
        blob = _uplink(how, piece)
        for action in taking.arrived(Received(f.TOPICS.up(f.DEVICE), blob, False, PacketToken(1, 1)), NOW):
            if isinstance(action, Store):
                stored += 1
                taking.stored((action.answer,), NOW)
    assert stored <= 1
    assert len(taking.state.answers) == stored
    assert assembler.held_bytes() <= gate.max_bytes * MAX_TRANSFERS
    if not stored:
        raise Refused(Reason.MALFORMED)


def _uplink(how: int, piece: bytes) -> bytes:
    header = Header(
        Type.UPDATE,
        f.FEDERATION,
        f.DEVICE,
        bytes(16),
        job=f.JOB,
        round=f.ROUND + (how >> 2 & 1),
        attempt=f.ATTEMPT,
        manifest=f.MANIFEST,
        encoding=how >> 4,
        recipient_key=f.ROUND_SEAL.id,
    )
    if how & 3 == 0:
        return piece
    if how & 3 == 1:
        return write_clear(header, piece, f.DEVICE_SIGNING)
    return write_sealed(header, piece, f.DEVICE_SIGNING, f.ROUND_RECIPIENT)


def manifest(data: bytes) -> None:
    """What a device makes of a manifest: its version so far, then the message as it is, or its body to be signed."""
    if not data:
        return
    state = DeviceState(f.DEVICE, 1, manifest_version=data[0] >> 1)
    _JUDGE.manifest(data[1:] if data[0] & 1 else _manifest(data[1:]), state)


def _manifest(plain: bytes) -> bytes:
    header = Header(Type.MANIFEST, f.FEDERATION, f.AGGREGATOR, bytes(16), job=f.JOB, round=f.ROUND, attempt=f.ATTEMPT)
    return write_clear(header, plain, f.AGGREGATOR_SIGNING)


def down(data: bytes) -> None:
    """A task or a receipt: the message as it is, or its body to be signed and sealed to the device."""
    if not data:
        return
    kind = (Type.TASK, Type.RECEIPT, Type.MISSING)[min(data[0] >> 1 & 3, 2)]
    _JUDGE.down(data[1:] if data[0] & 1 else _down(kind, data[1:]))


def _down(kind: Type, plain: bytes, manifest_hash: bytes = f.MANIFEST) -> bytes:
    header = Header(
        kind,
        f.FEDERATION,
        f.AGGREGATOR,
        bytes(16),
        recipient=f.DEVICE,
        job=f.JOB,
        round=f.ROUND,
        attempt=f.ATTEMPT,
        manifest=manifest_hash,
    )
    return write_sealed(header, plain, f.AGGREGATOR_SIGNING, f.DEVICE_RECIPIENT)


def session(data: bytes) -> None:
    """A stream of what a device hears, some of it from an aggregator that signs anything. Nothing is ever raised."""
    state = DeviceState(f.DEVICE, 1)
    hearing = Session(f.DEVICE_KEYS, state, (), Bounds(2**16, 2**16), bytes, lambda: 0.5)
    hearing.handle(Started(), 0.0)
    hearing.handle(Connected(MAX_BYTES), 0.0)
    known, latest = sum(hearing.refusals.values()), bytes(32)
    for how, piece in pieces(data):
        topic, payload = _downlink(how, piece, latest)
        hearing.handle(Came(topic, payload), 1.0)
        latest = sha256(payload).digest() if topic == f.TOPICS.manifest else latest
    if sum(hearing.refusals.values()) > known:
        raise Refused(Reason.MALFORMED)


def _downlink(how: int, piece: bytes, latest: bytes) -> tuple[str, bytes]:
    """Topic and payload."""
    match how % 7:
        case 0:
            return f.TOPICS.manifest, piece
        case 1:
            return f.TOPICS.manifest, _manifest(piece)
        case 2:
            return f.TOPICS.down(f.DEVICE), _down(Type.TASK, piece, latest)
        case 3:
            return f.TOPICS.down(f.DEVICE), _down(Type.RECEIPT, piece, latest)
        case 4:
            return f.TOPICS.chunk(sha256(piece).digest(), how >> 4), piece
        case 5:
            return piece.decode("utf-8", "replace"), b"payload"
        case _:
            return f.TOPICS.down(f.DEVICE), _down(Type.MISSING, piece, latest)


def enrolment(data: bytes) -> None:
    """A wish to join: the message as it is, or its body to be signed and sealed. Nothing is ever raised."""
    if not data:
        return
    header = Header(Type.ENROL, f.FEDERATION, f.TOKEN, bytes(16), recipient=f.REGISTRAR)
    blob = data[1:] if data[0] & 1 else write_sealed(header, data[1:], f.DEVICE_SIGNING, f.REGISTRAR_RECIPIENT)
    writer = MembershipWriter(f.AGGREGATOR_KEYS, f.BROKER, bytes)
    registrar = Registrar(f.AGGREGATOR_KEYS, _FLEET, writer, {f.TOKEN})
    topic = f.TOPICS.enrol_up(f.TOKEN)
    actions = registrar.received(Received(topic, blob, False, PacketToken(1, 1)), NOW)
    if not any(isinstance(action, Decide) for action in actions):
        raise Refused(Reason.MALFORMED)


def membership(data: bytes) -> None:
    """The registrar's word to a device that joins or that is to be renewed, signed by the registrar."""
    header = Header(Type.MEMBERSHIP, f.FEDERATION, f.REGISTRAR, bytes(16), recipient=f.DEVICE)
    blob = write_sealed(header, data, f.REGISTRAR_SIGNING, f.DEVICE_RECIPIENT)
    said = open_membership(parse(blob, MAX_BYTES), f.DEVICE, f.DEVICE_SEAL, f.ROOT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        open_accepted(said, f.DEVICE_KEYS, f.ROOT)
        open_renewal(said, f.DEVICE_KEYS)


_FLEET = f.fleet()
_JUDGE = Judge(f.DEVICE_KEYS)
_GATES = (
    f.gate(),
    f.gate(encoding="float16"),
    f.gate(encoding="int8"),
    f.gate(m.Phase.STATISTICS),
    f.gate(m.Phase.EVALUATE),
    f.gate(encoding="eden"),
    f.gate(encoding="topk"),
    f.gate(encoding="int8", plan=TrainPlan("mse", correction="scaffold", measure_loss=True)),
    f.gate(encoding="int4"),
    f.gate(encoding="sign"),
)
