"""Admission: each reason, in order, and nothing but typed refusals whatever the bytes are."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.admission import believe, examine, screen
from fedloom.compression import EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.wire.encoding import CODES, encode
from fedloom.wire.envelope import Header, Type, write_clear, write_sealed
from fedloom.wire.messages import Update, Verdict

UTC_S = 1.9e9
METRICS = np.array([2.0, 1.0, 4.0, 2.0, 3.0, 5.0], "<f8")
VECTOR = np.ones(4, "<f4").tobytes()


@pytest.fixture
def gate(rig):
    return rig.parts.core.coordinator._intake._gate


@pytest.fixture
def device(rig):
    return rig.devices[0]


def admit(gate, device, blob, topic="", utc_s=UTC_S):
    candidate = screen(topic or device.topics.up(device.id), blob, gate)
    believe(candidate)
    return examine(candidate, gate, utc_s)


def reason_of(gate, device, blob, **arguments):
    with pytest.raises(Refused) as refusal:
        admit(gate, device, blob, **arguments)
    return refusal.value.reason


def test_a_valid_update_is_admitted(gate, device):
    answer = admit(gate, device, device.update(Update(5, 1, 2.5, VECTOR, METRICS.tobytes(), "")))
    assert (answer.verdict, answer.samples, answer.train_loss, answer.encoding) == (Verdict.ACCEPTED, 5, 2.5, 1)


def test_training_that_was_ended_early_is_admitted(gate, device):
    most = 1000 // 32 + 1
    for steps in (most, 0):
        answer = admit(gate, device, device.update(Update(1000, steps, 2.5, VECTOR, b"", "")))
        assert answer.verdict is Verdict.ACCEPTED


def test_a_decline_is_admitted_whatever_else_it_says(gate, device):
    answer = admit(gate, device, device.update(Update(10**9, 0, float("nan"), b"x", b"", "no data")))
    assert (answer.verdict, answer.reason, answer.body) == (Verdict.DECLINED, "no data", b"")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"job": bytes(16)}, Reason.WRONG_JOB),
        ({"round": 2}, Reason.WRONG_ROUND),
        ({"round": 2, "manifest": bytes(32)}, Reason.WRONG_ROUND),
        ({"manifest": bytes(32)}, Reason.WRONG_MANIFEST),
        ({"federation": bytes(16)}, Reason.WRONG_FEDERATION),
        ({"sender": bytes(16)}, Reason.WRONG_TOPIC),
        ({"type": Type.TASK}, Reason.UNKNOWN_TYPE),
        ({"encoding": 2}, Reason.WRONG_ENCODING),
        ({"encoding": 0}, Reason.WRONG_ENCODING),
        ({"encoding": 77}, Reason.WRONG_ENCODING),
    ],
)
def test_headers(gate, device, header, reason):
    assert reason_of(gate, device, device.update(**header)) is reason


def scaled(value, size=4):
    return np.full(size, value, "<f4").tobytes()


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (Update(1001, 1, 0.5, VECTOR, b"", ""), Reason.SAMPLES_EXCEEDED),
        (Update(1, 2, 0.5, VECTOR, b"", ""), Reason.STEPS_EXCEEDED),
        (Update(0, 1, 0.0, VECTOR, b"", ""), Reason.STEPS_EXCEEDED),
        (Update(33, 3, 0.5, VECTOR, b"", ""), Reason.STEPS_EXCEEDED),
        (Update(1, 2**64 - 1, 0.5, VECTOR, b"", ""), Reason.STEPS_EXCEEDED),
        (Update(1, 1, float("nan"), VECTOR, b"", ""), Reason.NON_FINITE),
        (Update(1, 1, float("-inf"), VECTOR, b"", ""), Reason.NON_FINITE),
        (Update(1, 1, 1.7e308, VECTOR, b"", ""), Reason.NON_FINITE),
        (Update(1, 1, 0.5, VECTOR[:-1], b"", ""), Reason.WRONG_LENGTH),
        (Update(1, 1, 0.5, b"", b"", ""), Reason.WRONG_LENGTH),
        (Update(1, 1, 0.5, scaled(np.nan), b"", ""), Reason.NON_FINITE),
        (Update(1, 1, 0.5, scaled(np.inf), b"", ""), Reason.NON_FINITE),
        (Update(1, 1, 0.5, scaled(3e38), b"", ""), Reason.NORM_EXCEEDED),
        (Update(1, 1, 0.5, scaled(501.0), b"", ""), Reason.NORM_EXCEEDED),
        (Update(1, 1, 0.5, VECTOR, b"x", ""), Reason.BAD_METRICS),
        (Update(1, 1, 0.5, VECTOR, (METRICS * np.nan).tobytes(), ""), Reason.BAD_METRICS),
        (Update(1, 1, 0.5, VECTOR, (METRICS * -1).tobytes(), ""), Reason.BAD_METRICS),
        (Update(1, 1, 0.5, VECTOR, (METRICS * 10_000).tobytes(), ""), Reason.BAD_METRICS),
        (Update(1, 1, 0.5, VECTOR, np.array([1, 1e305, 0, 0, 0, 0], "<f8").tobytes(), ""), Reason.BAD_METRICS),
    ],
)
def test_bodies(gate, device, update, reason):
    assert reason_of(gate, device, device.update(update)) is reason


@pytest.mark.parametrize(
    ("encoding", "options", "others"),
    [
        ("eden", EncodingOptions(bits=1), EncodingOptions(bits=2)),
        ("topk", EncodingOptions(share=0.25), EncodingOptions(share=1.0)),
    ],
)
def test_an_encoding_with_other_options_than_the_jobs_is_refused(make_rig, encoding, options, others):
    rig = make_rig(encoding=encoding)
    rig.boot()
    rig.ready()
    rig.work()
    device, gate = rig.devices[0], rig.parts.core.coordinator._intake._gate
    vector = np.array([0, 1, 0, 0], np.float32)
    other, right = (Update(5, 1, 2.5, encode(vector, encoding, each), b"", "") for each in (others, options))
    assert reason_of(gate, device, device.update(other)) is Reason.WRONG_LENGTH
    assert admit(gate, device, device.update(right)).encoding == CODES[encoding]
    np.testing.assert_allclose(gate.weights, vector, atol=1e-6)


def moments(count=2.0, total=1.0, squares=1.0):
    return np.array([count, *[total] * 3, *[squares] * 3], "<f8").tobytes()


@pytest.mark.parametrize(
    ("samples", "vector", "reason"),
    [
        (2, moments()[:-8], Reason.WRONG_LENGTH),
        (2, moments(total=np.nan), Reason.NON_FINITE),
        (2, moments(squares=-1.0), Reason.MALFORMED),
        (2, moments(total=9.0), Reason.MALFORMED),
        (3, moments(), Reason.SAMPLES_EXCEEDED),
        (1001, moments(count=1001.0), Reason.SAMPLES_EXCEEDED),
        (0, moments(count=0.0, total=0.0, squares=1e300), Reason.MALFORMED),
        (1, moments(count=1.0, total=0.0, squares=1e300), Reason.NORM_EXCEEDED),
        (2, moments(total=0.0, squares=2.001e18), Reason.NORM_EXCEEDED),
    ],
)
def test_statistics(make_rig, samples, vector, reason):
    rig = make_rig(standardise="true")
    rig.boot()
    rig.ready()
    rig.work()
    device = rig.devices[0]
    gate = rig.parts.core.coordinator._intake._gate
    assert reason_of(gate, device, device.update(Update(samples, 0, 0.0, vector, b"", ""))) is reason
    assert admit(gate, device, device.update(Update(2, 0, 0.0, moments(), b"", ""))).samples == 2


def test_an_evaluation_is_metrics_and_nothing_else(rig):
    rig.answer_all()
    rig.answer_all()
    device, gate = rig.devices[0], rig.parts.core.coordinator._intake._gate
    assert reason_of(gate, device, device.update(Update(0, 0, 0.0, b"x", b"", ""))) is Reason.WRONG_LENGTH
    assert reason_of(gate, device, device.update(Update(7, 0, 0.0, b"", b"", ""))) is Reason.BAD_METRICS
    assert reason_of(gate, device, device.update(Update(7, 1, 0.0, b"", b"", ""))) is Reason.STEPS_EXCEEDED
    assert admit(gate, device, device.update()).verdict is Verdict.ACCEPTED


def test_metrics_come_from_those_that_were_asked(make_rig, replace):
    rig = make_rig(evaluate=0.3)
    rig.boot()
    rig.ready()
    rig.work()
    gate = rig.parts.core.coordinator._intake._gate
    asked, *others = sorted(rig.devices, key=lambda device: not device.task().evaluate)
    for device in others:
        update = replace(device.default_update(device.manifest), metrics=METRICS.tobytes())
        assert reason_of(gate, device, device.update(update)) is Reason.BAD_METRICS
    assert admit(gate, asked, asked.update()).verdict is Verdict.ACCEPTED


def test_metrics_in_the_statistics_round_are_refused(make_rig):
    rig = make_rig(standardise="true")
    rig.boot()
    rig.ready()
    rig.work()
    device, gate = rig.devices[0], rig.parts.core.coordinator._intake._gate
    update = Update(2, 0, 0.0, moments(), METRICS.tobytes(), "")
    assert reason_of(gate, device, device.update(update)) is Reason.BAD_METRICS


def test_one_device_cannot_spoil_the_input_layer_of_all(make_rig):
    rig = make_rig(standardise="true")
    rig.boot()
    rig.ready()
    rig.work()
    evil = rig.devices[0]
    for vector in (moments(0.0, 0.0, 1e40), moments(1.0, 0.0, 1e300), moments(1.0, 0.0, 1e40)):
        rig.send(evil, evil.update(Update(int(vector[7] > 0), 0, 0.0, vector, b"", "")))
        assert evil.receipt_order[-1].verdict is Verdict.REJECTED
    for device in rig.devices[1:]:
        rig.send(device, device.update())
    rig.work()
    standardiser = rig.parts.core.coordinator._progress.model.standardiser
    assert np.abs(standardiser.shift).max() < 10.0
    assert standardiser.scale.max() < 10.0


def test_a_decline_cannot_write_to_the_operators_terminal(gate, device):
    said = "x)\ndone: model\x1b]0;t\x07\u202e é"
    answer = admit(gate, device, device.update(Update(0, 0, 0.0, b"", b"", said)))
    assert answer.reason == "x)·done: model·]0;t·· é"


def test_who_may_send(gate, rig, device):
    other = rig.devices[1]
    assert reason_of(gate, device, other.update()) is Reason.WRONG_TOPIC
    assert reason_of(gate, device, device.update(), topic="fedloom/x/d/y/up") is Reason.WRONG_TOPIC
    gate.fleet.get(device.id).revoked = True
    assert reason_of(gate, device, device.update()) is Reason.REVOKED


def test_an_uninvited_device(rig):
    late = rig.add_device(9)
    rig.handle(rig.parts.archive.changed_fleet())
    late.take_manifest(rig.retained[late.topics.manifest])
    gate = rig.parts.core.coordinator._intake._gate
    assert reason_of(gate, late, late.update(Update(1, 1, 0.5, VECTOR, b"", ""))) is Reason.NOT_INVITED


def test_an_unknown_device(rig, gate):
    unknown = rig.add_device(9)
    unknown.take_manifest(rig.retained[unknown.topics.manifest])
    assert reason_of(gate, unknown, unknown.update(Update(1, 1, 0.5, VECTOR, b"", ""))) is Reason.UNKNOWN_SENDER


def test_keys(gate, rig, device):
    manifest, other = device.manifest, rig.devices[1]
    header = Header(Type.UPDATE, device.keys.root.federation, device.id, bytes(16))._replace(
        job=manifest.job, round=1, attempt=1, manifest=device.manifest_hash, encoding=1
    )
    wrong_round_key = SealKey.generate(SealSuite.X25519)
    blob = write_sealed(header, b"", device.keys.signing, Recipient(SealSuite.X25519, wrong_round_key.public))
    assert reason_of(gate, device, blob) is Reason.WRONG_RECIPIENT
    blob = write_sealed(header, b"", other.keys.signing, Recipient(SealSuite.X25519, manifest.round_key))
    assert reason_of(gate, device, blob) is Reason.UNKNOWN_KEY
    blob = write_sealed(header, b"not msgpack", device.keys.signing, Recipient(SealSuite.X25519, manifest.round_key))
    assert reason_of(gate, device, blob) is Reason.MALFORMED
    clear = write_clear(header._replace(recipient_key=gate.own.seal_key.id), b"\xc0" * 64, device.keys.signing)
    assert reason_of(gate, device, clear) is Reason.UNKNOWN_SUITE


def test_sizes(gate, device):
    assert reason_of(gate, device, bytes(gate.max_bytes + 1)) is Reason.TOO_LARGE
    declined = Update(0, 0, 0.0, bytes(gate.max_plain_bytes), b"", "")
    assert reason_of(gate, device, device.update(declined)) is Reason.TOO_LARGE


def test_an_expired_credential(gate, device):
    assert reason_of(gate, device, device.update(), utc_s=1e12) is Reason.EXPIRED


def test_a_tampered_signature_and_body(gate, device):
    blob = bytearray(device.update())
    blob[-1] ^= 1
    assert reason_of(gate, device, bytes(blob)) is Reason.BAD_SIGNATURE
    blob = bytearray(device.update())
    blob[200] ^= 1
    assert reason_of(gate, device, bytes(blob)) is Reason.BAD_SIGNATURE


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_to_a_valid_message_it_is_refused_and_nothing_else(gate, device, data):
    valid = device.update()
    blob = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        match data.draw(st.sampled_from(["flip", "cut", "insert", "fill"])):
            case "flip":
                blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
            case "cut":
                del blob[data.draw(st.integers(0, len(blob) - 1)) :]
                blob = blob or bytearray(b"F")
            case "insert":
                blob[data.draw(st.integers(0, len(blob))) : 0] = data.draw(st.binary(min_size=1, max_size=20))
            case "fill":
                start = data.draw(st.integers(0, len(blob) - 1))
                blob[start : start + 8] = b"\xff" * len(blob[start : start + 8])
    try:
        candidate = screen(device.topics.up(device.id), bytes(blob), gate)
        believe(candidate)
    except Refused:
        return
    assert candidate.envelope.blob == valid  # the changes have undone each other


def bodies():
    vectors = st.one_of(
        st.binary(max_size=40),
        st.lists(st.floats(width=32), min_size=4, max_size=4).map(lambda v: np.array(v, "<f4").tobytes()),
    )
    metrics = st.one_of(
        st.binary(max_size=60),
        st.lists(st.floats(), min_size=6, max_size=6).map(lambda v: np.array(v, "<f8").tobytes()),
    )
    return st.builds(Update, st.integers(0, 2**40), st.integers(0, 9), st.floats(), vectors, metrics, st.just(""))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(update=bodies())
def test_whatever_a_device_signs_only_finite_and_bounded_values_are_admitted(gate, device, update):
    try:
        answer = admit(gate, device, device.update(update))
    except Refused:
        return
    vector = np.frombuffer(update.vector, "<f4")
    assert answer.verdict is Verdict.ACCEPTED
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector.astype(np.float64)) <= 1000.0
    assert update.samples <= 1000
    assert np.isfinite(update.train_loss)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blob=st.binary(max_size=600))
def test_noise_is_refused(gate, device, blob):
    with pytest.raises(Refused):
        screen(device.topics.up(device.id), b"FLE\x01" + blob, gate)
