"""SCAFFOLD on real processes: whoever is killed, the model is the same, and both sides hold the same variates."""

import signal

import msgspec
import numpy as np
import pytest

from aggregator import history
from aggregator.notices import RoundClosed
from aggregator.states import States
from aggregator.store import open_store
from edge_client.outbox import StateDirectory
from edge_client.rounds import current_control
from fedloom.learning.model_file import load
from simulation.processes import LocalFleet
from strategies.variates import Variates, sum_of

DEVICES, ROUNDS = 3, 10


@pytest.fixture
def sources(make_data):
    return make_data("line", devices=DEVICES, seed=0)


@pytest.fixture
def job(examples, tmp_path):
    """No model without all of them: a broker of MQTT 3.1.1 gives a device that was killed up at once."""
    text = (examples / "line" / "job.toml").read_text()
    for old, new in (
        ("devices = 5", f"devices = {DEVICES}\nmin_updates = {DEVICES}"),
        ("count = 40", f"count = {ROUNDS}"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "job.toml"
    path.write_text(text + '\n[update]\nencoding = "int8"\n[strategy]\nname = "scaffold"\n')
    return path


def run(directory, job, sources, device_dies_after=None, aggregator_dies_after=None):
    """The final weights, and the variates of server and devices."""
    with LocalFleet(directory, job, sources) as fleet:
        for notice in fleet.notices(patience_s=60):
            closed = notice.round if isinstance(notice, RoundClosed) else ""
            if closed == device_dies_after:
                fleet.restart_device(1, signal.SIGKILL)
            elif closed == aggregator_dies_after:
                fleet.aggregator.process.kill()
                fleet.aggregator.process.wait(60)
                fleet.aggregator.process.stdout.close()
                fleet.aggregator = fleet._start_aggregator(directory / "aggregator")
                break
        for _ in fleet.notices(patience_s=60) if aggregator_dies_after else ():
            pass
        fleet.wait()
    with open_store(directory / "aggregator") as store:
        run_id, name, _ = history.newest_job(store)
        blob = States(directory / "aggregator" / "models" / name).load(history.newest_state(store, run_id))
        counted = history.counted(store, run_id)
    kept = []
    for path in sorted(directory.glob("device-*/state")):
        state = StateDirectory(path).read().state
        own = current_control(state, run_id, counted[state.device])
        kept.append(np.frombuffer(StateDirectory(path).controls.read(own), "<f4"))
    model = load(next(directory.glob("device-*/state/model.fedloom")))
    return model.weights.tobytes(), sum_of(msgspec.msgpack.decode(blob, type=Variates)), kept


def test_killed_or_not_the_bits_are_the_same_and_nothing_is_lost_of_a_variate(tmp_path, job, sources):
    weights, total, kept = run(tmp_path / "calm", job, sources)
    assert len(kept) == DEVICES
    assert all(np.abs(each).max() > 1e-3 for each in kept)
    np.testing.assert_allclose(total, sum(kept), atol=1e-5)
    again, total, kept = run(tmp_path / "killed", job, sources, device_dies_after=3, aggregator_dies_after=6)
    assert again == weights
    np.testing.assert_allclose(total, sum(kept), atol=1e-5)
