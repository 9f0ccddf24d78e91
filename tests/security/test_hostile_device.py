"""A device with valid keys and bad intentions: whatever it sends is refused for its reason, in bounded memory and time,
and the round ends with exactly what the honest devices sent (I1, I9).

Here against the aggregator's core, where each refusal can be seen by its reason; `test_hostile_process.py` is the same
against the real process.
"""

import gc
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hostile.attacks import ATTACKS, LARGE, MAX_SAMPLES, VALUES
from hostile.rig import HONEST, INPUTS, Rig, intake_of, job_text, open_rig
from hostile.target import Target, write

from aggregator.notices import RoundClosed
from aggregator.store import open_store
from fedloom.errors import Reason
from fedloom.wire import envelope
from fedloom.wire.encodings.scales import BLOCK
from fedloom.wire.messages import Phase, Update, Verdict

ENCODINGS = ("float32", "float16", "int8")
FEW_BITS = {"int4": 0.0, "eden": 0.0, "topk": 0.0004}
"""With the share that is one of 2,048 weights: what topk leaves out of the honest vectors is zero."""
ONE_HOTS = np.repeat([1 / HONEST, 0.0], [HONEST, INPUTS + 1 - HONEST])
"""The mean of what the honest devices mean."""
SIGNS = np.where(np.arange(INPUTS + 1) < BLOCK, np.where(ONE_HOTS > 0, 2 - HONEST, -HONEST) / HONEST / BLOCK, 0.0)
"""What signs leave of it: in the block of the ones each is 1/1,024 with + in one update, with − in the others."""
FLOOD = 4000
BUCKET_S = 5.0
"""After so long a pause the throttle looks at a whole burst again."""
SLOWEST = 20
"""Times an honest update's cost that an attack may take."""
METRICS = np.array([2.0, 1.0, 4.0, 2.0, 3.0, 5.0], "<f8")


def send(rig, device, messages):
    for message in messages:
        rig.send(device, message)
    rig.work()
    rig.now_s += BUCKET_S


def answer_honestly(rig):
    """The honest devices' updates: device k says 1 in coordinate k, and nothing else."""
    for device in rig.devices[:HONEST]:
        assert device.task() is not None
        rig.send(device, device.update())
    rig.work()


def fused_step(rig):
    """What the first round added to the model."""
    load = rig.parts.archive.registry.load
    return load(1).weights.astype(np.float64) - load(0).weights


def check_exact_fusion(rig, rejected=1, mean=ONE_HOTS):
    """I1: the model moved by the mean of the honest vectors, and by nothing else."""
    (closed,) = [each for each in rig.told(RoundClosed) if each.phase is Phase.TRAIN]
    assert (closed.outcome, closed.accepted, closed.rejected) == ("done", HONEST, rejected)
    step = fused_step(rig)
    np.testing.assert_allclose(step, mean, atol=1e-6)
    assert not step[mean == 0].any()


@pytest.fixture
def make_rig(tmp_path):
    rigs = []

    def make(**settings):
        rigs.append(open_rig(tmp_path / str(len(rigs)), **settings))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.crash()


@pytest.mark.parametrize("suite", ["x25519", "hybrid"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_attack_is_refused_for_its_reason_and_the_round_is_that_of_the_honest(make_rig, encoding, suite):
    check_attacks(make_rig(encoding=encoding, suite=suite), [*ATTACKS, LARGE[encoding]])


@pytest.mark.parametrize(("encoding", "share"), FEW_BITS.items())
def test_a_vector_of_few_bits_is_refused_like_any_other(make_rig, encoding, share):
    """The other attacks need an update that is larger than these are."""
    check_attacks(make_rig(encoding=encoding, share=share), [*VALUES, LARGE[encoding]])


def test_signs_are_refused_like_any_other_vector(make_rig):
    check_attacks(make_rig(encoding="sign"), [*VALUES, LARGE["sign"]], SIGNS)


def check_attacks(rig, attacks, mean=ONE_HOTS):
    evil, refusals = rig.devices[-1], intake_of(rig).refusals
    for attack in attacks:
        refusals.clear()
        evil.receipt_order.clear()
        send(rig, evil, attack.make(evil))
        said = [(receipt.verdict, receipt.reason.split(":")[0]) for receipt in evil.receipt_order]
        expected = [(Verdict.REJECTED, attack.reason)] if attack.answered else []
        assert said == expected, attack.name
        assert dict(refusals) == ({} if attack.answered else {attack.reason: 1}), attack.name
    answer_honestly(rig)
    check_exact_fusion(rig, mean=mean)


def test_the_attacks_cover_every_reason_that_an_update_can_have():
    elsewhere = {
        Reason.UNKNOWN_SENDER, Reason.NOT_INVITED, Reason.REVOKED, Reason.EXPIRED, Reason.CONFLICT, Reason.LATE,
        Reason.BAD_CREDENTIAL, Reason.OLD, Reason.BUSY, Reason.TOO_MANY,
    }  # fmt: skip
    assert {attack.reason for attack in [*ATTACKS, *LARGE.values()]} >= _reasons_of_updates() - elsewhere
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


def _reasons_of_updates():
    """All that the aggregator's code for updates names."""
    import aggregator.admission
    import aggregator.assembler
    import aggregator.intake
    import fedloom.wire.chunks
    import fedloom.wire.encoding

    ours = aggregator.admission, aggregator.assembler, aggregator.intake
    modules = *ours, envelope, fedloom.wire.chunks, fedloom.wire.encoding
    text = "".join(Path(module.__file__).read_text() for module in modules)
    return {reason for reason in Reason if f"Reason.{reason.name}" in text}


def test_two_different_updates_of_one_device_conflict_and_the_first_counts(make_rig):
    rig = make_rig()
    evil, target = rig.devices[-1], Target(rig.devices[-1])
    first, second, third = (write(target, target.update(samples=n)) for n in (1, 2, 3))
    rig.send(evil, first)
    rig.send(evil, second)  # before the first is durable: no receipt, since a crash may still make it the first
    assert dict(intake_of(rig).refusals) == {Reason.CONFLICT: 1}
    rig.work()
    rig.send(evil, third)
    rig.send(evil, third)
    said = [(receipt.verdict, receipt.reason.split(":")[0]) for receipt in evil.receipt_order]
    assert said[:2] == [(Verdict.ACCEPTED, ""), (Verdict.REJECTED, Reason.CONFLICT)]
    assert {verdict for verdict, _ in said[1:]} == {Verdict.REJECTED}
    answer_honestly(rig)
    (closed,) = [each for each in rig.told(RoundClosed) if each.phase is Phase.TRAIN]
    assert (closed.accepted, closed.rejected) == (HONEST + 1, 0)
    assert fused_step(rig)[-1] == pytest.approx(0.001 / (HONEST + 1), rel=1e-3)


def test_a_decline_is_final_too(make_rig):
    rig = make_rig()
    evil, target = rig.devices[-1], Target(rig.devices[-1])
    send(rig, evil, [write(target, target.update(declined="no", samples=2**63, train_loss=float("nan")))])
    send(rig, evil, [write(target, target.update())])
    assert [receipt.verdict for receipt in evil.receipt_order] == [Verdict.DECLINED, Verdict.REJECTED]
    answer_honestly(rig)
    check_exact_fusion(rig, rejected=0)


def test_an_update_before_there_is_a_round_is_let_go(tmp_path):
    """It cannot name a manifest that there is not; the broker is told that it came, or it would bring it again."""
    rig = Rig(tmp_path, job_text(devices=HONEST + 1), HONEST + 1)
    rig.boot()
    device = rig.devices[-1]
    token = rig.send(device, b"FLE\x01" + bytes(300))
    assert rig.acknowledged == [token]
    assert intake_of(rig) is None
    rig.ready()
    rig.work()
    rig.finish_job()
    rig.crash()


def test_an_update_before_any_invitation_is_ignored(make_rig):
    rig = make_rig(devices=HONEST + 1)
    stranger = rig.add_device(9)
    rig.handle(rig.parts.archive.changed_fleet())
    stranger.take_manifest(rig.retained[stranger.topics.manifest])
    blob = stranger.update(Update(1, 1, 0.5, b"", b"", ""), encoding=1)
    send(rig, stranger, [blob])
    assert dict(intake_of(rig).refusals) == {Reason.NOT_INVITED: 1}
    assert stranger.receipt_order == []


def test_an_update_after_revocation_is_refused(make_rig):
    rig = make_rig()
    evil = rig.devices[-1]
    blob = evil.update()
    with open_store(rig.state) as store:  # another process, as `fedloom device revoke` is
        store.revoke_device(evil.name)
    rig.handle(rig.parts.archive.changed_fleet())
    send(rig, evil, [blob])
    assert dict(intake_of(rig).refusals) == {Reason.REVOKED: 1}
    assert evil.receipt_order == []


def test_an_update_after_the_credential_has_expired_is_refused(make_rig):
    rig = make_rig()
    rig.utc_s = 1e11
    send(rig, rig.devices[-1], [rig.devices[-1].update()])
    (receipt,) = rig.devices[-1].receipt_order
    assert (receipt.verdict, receipt.reason.split(":")[0]) == (Verdict.REJECTED, Reason.EXPIRED)


def test_an_update_of_a_round_that_is_over_is_late(make_rig):
    rig = make_rig(count=2)
    evil = rig.devices[-1]
    late = evil.update()
    send(rig, evil, ATTACKS[5].make(evil))
    answer_honestly(rig)
    evil.receipt_order.clear()
    send(rig, evil, [late])
    assert [receipt.verdict for receipt in evil.receipt_order] == [Verdict.LATE]


def moments(count=2.0, total=1.0, squares=1.0, size=INPUTS):
    return np.array([count, *[total] * size, *[squares] * size], "<f8").tobytes()


@pytest.mark.parametrize(
    ("samples", "vector", "reason"),
    [
        (2, moments(squares=np.nan), Reason.NON_FINITE),
        (2, moments(total=np.inf), Reason.NON_FINITE),
        (2, moments(squares=-1.0), Reason.MALFORMED),
        (2, moments(total=9.0), Reason.MALFORMED),  # (Σx)² > n·Σx²: of no two numbers
        (2, moments(count=2.5), Reason.MALFORMED),
        (2, moments(count=-2.0), Reason.MALFORMED),
        (1, moments(count=1e300), Reason.MALFORMED),
        (3, moments(), Reason.SAMPLES_EXCEEDED),
        (MAX_SAMPLES + 1, moments(count=MAX_SAMPLES + 1.0), Reason.SAMPLES_EXCEEDED),
        (1, moments(count=1.0, total=0.0, squares=1e300), Reason.NORM_EXCEEDED),
        (2, moments()[:-8], Reason.WRONG_LENGTH),
        (2, moments(size=INPUTS - 1), Reason.WRONG_LENGTH),
    ],
)
def test_moments_out_of_range(make_rig, samples, vector, reason):
    rig = make_rig(standardise="true")
    evil, target = rig.devices[-1], Target(rig.devices[-1])
    send(rig, evil, [write(target, target.update(samples=samples, steps=0, vector=vector))])
    (receipt,) = evil.receipt_order
    assert (receipt.verdict, receipt.reason.split(":")[0]) == (Verdict.REJECTED, reason)


@pytest.mark.parametrize(
    "metrics",
    [METRICS * np.nan, METRICS * np.inf, METRICS * -1, METRICS * 1e6, METRICS[:-1], np.full(6, 1e305), METRICS * 1.01],
)
def test_metrics_out_of_range_of_a_device_that_was_asked(make_rig, metrics):
    rig = make_rig(evaluate=1.0)
    evil, target = rig.devices[-1], Target(rig.devices[-1])
    send(rig, evil, [write(target, target.update(metrics=metrics.astype("<f8").tobytes()))])
    (receipt,) = evil.receipt_order
    assert (receipt.verdict, receipt.reason.split(":")[0]) == (Verdict.REJECTED, Reason.BAD_METRICS)


def test_thousands_of_attacks_take_constant_memory_and_bounded_time(make_rig):
    """What the last thousand left behind is nothing, and none took much longer than what an honest device sends."""
    honest_s = time_of_an_honest_update(make_rig())
    rig = make_rig()
    evil = rig.devices[-1]
    prepared = [message for attack in [*ATTACKS, LARGE["float32"]] for message in attack.make(evil)]
    times_s = [[] for _ in prepared]
    # Whole cycles: else what is held of a transfer at the end is not what was held at the beginning.
    thousands = -(-FLOOD // len(prepared)) * len(prepared)

    def flood(count, note=lambda kind, seconds: None):
        for number in range(count):
            began = time.thread_time()
            rig.send(evil, prepared[number % len(prepared)])
            note(number % len(prepared), time.thread_time() - began)
            rig.now_s += BUCKET_S
            for heap in (rig.sent, rig.acknowledged, rig.notices, evil.receipt_order, evil.receipts):
                heap.clear()

    flood(thousands, lambda kind, seconds: times_s[kind].append(seconds))
    fastest_s = [min(each) for each in times_s]
    assert max(fastest_s) < SLOWEST * honest_s, prepared[int(np.argmax(fastest_s))][:20]
    assert sum(map(sum, times_s)) / thousands < SLOWEST * honest_s
    tracemalloc.start()
    flood(2 * len(prepared))
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    flood(thousands)
    _, peak = tracemalloc.get_traced_memory()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(after - before)
    assert after - before < 64 * 1024  # a digest kept of each message would be four times that
    assert peak - before < 4 * max(len(message) for message in prepared) + 256 * 1024
    assert sum(intake_of(rig).refusals.values()) > FLOOD / 4
    rig.now_s += BUCKET_S
    answer_honestly(rig)
    check_exact_fusion(rig)


def time_of_an_honest_update(rig):
    """Processor time, in seconds, in which nothing else is counted that this machine does; of some, the shortest."""
    times_s = []
    for device in rig.devices[:HONEST]:
        update = device.update()
        began = time.thread_time()
        rig.send(device, update)
        times_s.append(time.thread_time() - began)
    assert not intake_of(rig).refusals
    return min(times_s)


def test_frames_of_transfers_that_never_end_take_bounded_memory(make_rig):
    """Each opens a transfer of its own, of as much as an update may have; a device holds two at a time."""
    rig = make_rig()
    evil, taking = rig.devices[-1], intake_of(rig)
    gate, assembler = taking._gate, taking._assembler
    for number in range(FLOOD):
        half = gate.max_bytes // 2
        header = b"FLF\x01" + number.to_bytes(16, "big") + (0).to_bytes(2, "big") + (2).to_bytes(2, "big")
        rig.send(evil, header + (2 * half).to_bytes(4, "big") + bytes(half))
        rig.now_s += BUCKET_S
        assert assembler.held_bytes() <= 2 * gate.max_bytes
    assert assembler.held_bytes() > 0
    send(rig, evil, ATTACKS[5].make(evil))
    answer_honestly(rig)
    check_exact_fusion(rig)
