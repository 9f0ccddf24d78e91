"""Control variates and losses on their way through manifest, admission, spool and restart."""

from hashlib import sha256

import msgspec
import numpy as np
import pytest

import strategies
from aggregator import history
from aggregator.admission import believe, examine, largest_update_bytes, screen
from aggregator.config import Retention
from aggregator.events import Tick
from aggregator.opening import check_manifest
from fedloom.command import main
from fedloom.errors import ConfigError, Reason, Refused
from fedloom.job import load_job
from fedloom.job.checks import MAX_WEIGHTS
from fedloom.learning.plan import TrainPlan
from fedloom.wire.encoding import encoded_bytes
from fedloom.wire.messages import Phase, Update
from fedloom.wire.model_blob import open_model
from strategies import create_for, first_plan
from strategies.fedavg import Mean
from strategies.registry import Recipe
from strategies.variates import sum_of

UTC_S = 1.9e9
VECTOR = np.ones(4, "<f4").tobytes()
DEVICES = 3


@pytest.fixture
def start(make_rig):
    """`start(name, **job settings)`: a rig of a job with this strategy; the first round is open."""

    def make(name="scaffold", options="", **settings):
        rig = make_rig(devices=DEVICES, **{"count": 4, "evaluate": 0.0} | settings)
        path = rig.config.job
        path.write_text(path.read_text() + f'[strategy]\nname = "{name}"\noptions = {{ {options} }}\n')
        rig.boot()
        rig.ready()
        rig.work()
        return rig

    return make


def received(rig, device):
    """What the device opens of the round's model."""
    ref = device.manifest.model
    cipher = rig.retained[device.topics.chunk(ref.cipher_hash, 0)]
    return open_model(cipher, ref, device.task().model_key, 4, None)


def answer(rig, *devices):
    """These answer; returns the digest of each one's update."""
    digests = {}
    for device in devices:
        blob = device.update()
        digests[device.id] = sha256(blob).digest()
        rig.send(device, blob)
    rig.work()
    return digests


def counted(rig):
    return {device.id: device.task().counted for device in rig.devices}


def restart(rig):
    rig.crash()
    rig.boot()
    rig.ready()
    rig.work()


def test_the_variate_travels_beside_the_model_under_a_hash_of_its_own(start):
    rig = start()
    first = rig.devices[0].manifest
    assert received(rig, rig.devices[0]).control.tolist() == [0.0] * 4
    assert first.model.control_hash == sha256(bytes(16)).digest()
    rig.answer_all()
    opened = received(rig, rig.devices[0])
    np.testing.assert_allclose(opened.control, [1 / 3, 1 / 3, 1 / 3, 0.0], rtol=1e-6)
    np.testing.assert_allclose(opened.weights, received_weights(rig), rtol=0)
    known = rig.parts.archive.registry.load(rig.devices[0].manifest.model.version)
    assert known.weights.tobytes() == opened.weights.tobytes()


def received_weights(rig):
    return rig.parts.core.coordinator._progress.model.weights


def test_the_end_of_the_job_brings_the_model_alone(start):
    rig = start(count=1, evaluate=1.0)
    rig.answer_all()
    assert rig.devices[0].manifest.phase is Phase.EVALUATE
    assert rig.devices[0].manifest.model.control_hash == b""
    assert received(rig, rig.devices[0]).control is None


@pytest.mark.parametrize("name", ["scaffold", "feddyn"])
def test_a_task_names_the_devices_last_update_that_is_in_a_model(start, name):
    rig = start(name)
    assert set(counted(rig).values()) == {b""}
    first = answer(rig, *rig.devices)
    assert counted(rig) == first
    restart(rig)
    assert counted(rig) == first
    second = answer(rig, *rig.devices)
    assert counted(rig) == second != first


def test_an_attempt_that_is_aborted_counts_nothing(start):
    rig = start()
    first = answer(rig, *rig.devices)
    answer(rig, rig.devices[0])
    rig.now_s += 100.0
    rig.handle(Tick())
    rig.work()
    assert rig.devices[0].manifest.attempt == 2
    assert counted(rig) == first
    restart(rig)
    assert counted(rig) == first


def test_plain_jobs_say_nothing_of_it(start):
    rig = start("fedavg")
    rig.answer_all()
    assert set(counted(rig).values()) == {b""}
    assert rig.devices[0].manifest.model.control_hash == b""


def test_killed_and_started_again_it_seals_and_fuses_the_same(start):
    rig = start()
    answer(rig, *rig.devices)
    answer(rig, *rig.devices[:1])
    before = received(rig, rig.devices[0]).control
    rig.retained.clear()
    restart(rig)
    assert received(rig, rig.devices[1]).control.tobytes() == before.tobytes()
    answer(rig, *rig.devices[1:])
    progress = rig.parts.core.coordinator._progress
    np.testing.assert_allclose(sum_of(progress._state()), [2.0, 2.0, 2.0, 0.0])


@pytest.mark.parametrize("name", ["scaffold", "feddyn", "fedprox"])
def test_every_round_is_recomputed_to_the_bit(start, name, capsys):
    rig = start(name, count=3, encoding="int8")
    config = rig.directory / "aggregator.toml"
    config.write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
    rig.finish_job()
    for number in (1, 2, 3):
        with pytest.raises(SystemExit) as end:
            main(["round", "verify", "line", str(number), "--config", str(config)])
        assert (end.value.code, "the same bits as recorded" in capsys.readouterr().out) == (0, True)


def test_what_a_device_hangs_on_outlives_the_rounds_that_the_database_forgets(start):
    rig = start(count=60, quorum=0.5, min_updates=1, over_selection=1.0)
    retention = Retention(models=1, rounds=1, history=3)
    rig.config = msgspec.structs.replace(
        rig.config, config=msgspec.structs.replace(rig.config.config, retention=retention)
    )
    restart(rig)
    last = answer(rig, *rig.devices)
    rare = rig.devices[0]
    for _ in range(25):
        others = answer(rig, *rig.devices[1:])
        rig.now_s += 100.0
        rig.handle(Tick())
        rig.work()
    store = rig.parts.archive.store
    known = history.counted(store, history.newest_job(store)[0])
    assert known == others | {rare.id: last[rare.id]}
    assert known == rig.parts.core.coordinator._progress.counted
    with store.engine.connect() as connection:
        kept = connection.exec_driver_sql("select count(*) from updates").scalar_one()
    assert kept <= 2 * 12 + 1


class Measured(msgspec.Struct, frozen=True):
    def plan(self, base: TrainPlan) -> TrainPlan:
        return msgspec.structs.replace(base, measure_loss=True)


class Losses(Mean, frozen=True):
    def combine(self, updates, size):
        assert [update.loss for update in updates] == [0.25] * DEVICES
        return super().combine(updates, size)


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setitem(strategies.registry.COMPOSED, "measured", Recipe(Losses, local=Measured))
    return "measured"


def test_a_loss_reaches_the_rule_that_asks_for_it(start, measured):
    rig = start(measured)
    rig.answer_all()
    assert rig.devices[0].manifest.round == 2


def test_q_fedavg_asks_for_it(start):
    rig = start("qfedavg", "client_learning_rate = 0.1")
    rig.answer_all()
    assert rig.devices[0].manifest.round == 2


def reason_of(rig, update):
    device, gate = rig.devices[0], rig.parts.core.coordinator._intake._gate
    candidate = screen(device.topics.up(device.id), device.update(update), gate)
    believe(candidate)
    with pytest.raises(Refused) as refusal:
        examine(candidate, gate, UTC_S)
    return refusal.value.reason


@pytest.mark.parametrize(
    ("control", "reason"),
    [
        (b"", Reason.WRONG_LENGTH),
        (VECTOR[:-1], Reason.WRONG_LENGTH),
        (VECTOR + VECTOR, Reason.WRONG_LENGTH),
        (np.full(4, np.nan, "<f4").tobytes(), Reason.NON_FINITE),
        (np.full(4, 6e5, "<f4").tobytes(), Reason.NORM_EXCEEDED),
    ],
)
def test_a_variate_is_looked_at_as_closely_as_an_update(start, control, reason):
    assert reason_of(start(), Update(1, 1, 0.5, VECTOR, b"", "", None, control)) is reason


def test_a_variate_that_nobody_asked_for_is_refused(start):
    assert reason_of(start("fedavg"), Update(1, 1, 0.5, VECTOR, b"", "", None, VECTOR)) is Reason.WRONG_LENGTH


@pytest.mark.parametrize("loss", [-1.0, float("nan"), float("inf"), 1e39])
def test_a_loss_that_none_can_have_is_refused(start, measured, loss):
    assert reason_of(start(measured), Update(1, 1, 0.5, VECTOR, b"", "", loss)) is Reason.NON_FINITE


def test_a_loss_comes_where_it_is_asked_for_and_nowhere_else(start, measured):
    assert reason_of(start(measured), Update(1, 1, 0.5, VECTOR, b"", "")) is Reason.BAD_METRICS


def test_a_loss_that_nobody_asked_for_is_refused(start):
    assert reason_of(start(), Update(1, 1, 0.5, VECTOR, b"", "", 0.5, VECTOR)) is Reason.BAD_METRICS


def test_a_second_vector_counts_in_every_limit(start):
    job = load_job(start().config.job)
    plan = first_plan(create_for(job, ""), job)
    more = largest_update_bytes(job, plan) - largest_update_bytes(job, job.training)
    assert more == encoded_bytes("float32", 4)
    # A manifest holds a hash for each chunk: half the weights fit.
    wide = msgspec.structs.replace(job.model, inputs=1, hidden=(int(0.9 * MAX_WEIGHTS) // 3,))
    large = msgspec.structs.replace(job, model=wide)
    check_manifest(large, job.training, "")
    with pytest.raises(ConfigError, match="shrink the model"):
        check_manifest(large, plan, "")


@pytest.mark.parametrize(("key", "value"), [("correction", '"scaffold"'), ("measure_loss", "true")])
def test_what_the_strategy_sets_a_job_file_does_not(start, key, value):
    path = start().config.job
    path.write_text(path.read_text().replace('loss = "mse"', f'loss = "mse"\n{key} = {value}'))
    with pytest.raises(ConfigError, match=rf"training\.{key}: is the strategy's to set"):
        load_job(path)


def test_a_job_that_the_rule_cannot_work_with_is_refused_by_its_key(start):
    path = start().config.job
    path.write_text(path.read_text().replace('loss = "mse"', 'loss = "mse"\noptimiser = "adam"'))
    with pytest.raises(ConfigError, match=r"training\.optimiser: is 'adam'.*set it to 'sgd'"):
        create_for(load_job(path), "job.toml")
