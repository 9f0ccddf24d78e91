"""An asynchronous job on real processes: one device is far slower than the others, and the aggregator is killed."""

import numpy as np
import pytest

from aggregator.notices import Done, RoundClosed, UpdateSeen
from fedloom.learning.model_file import load
from fedloom.wire.messages import Phase, Verdict
from simulation.processes import LocalFleet

SLOWER = 200
"""Times as many samples as the others have: a step a sample."""
KILLED_IN = 15


@pytest.fixture
def sources(make_data):
    sources = make_data("line", devices=4, seed=0)
    head, *rows = sources[3].read_text().splitlines()
    sources[3].write_text("\n".join([head, *rows * SLOWER, ""]))
    return sources


@pytest.fixture
def job(examples, tmp_path):
    text = (examples / "line" / "job.toml").read_text()
    for old, new in (
        ("devices = 5", "devices = 4\nmin_updates = 2"),
        ("count = 40", "count = 60"),
        ("batch_size = 0", "batch_size = 1"),
        ("local_epochs = 5", "local_epochs = 1"),
        ("learning_rate = 0.1", "learning_rate = 0.01"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "job.toml"
    path.write_text(
        text + '\n[asynchronous]\nbuffer = 2\nmax_staleness = 200\n[strategy]\nname = "fedbuff"\n', encoding="utf-8"
    )
    return path


def kill_aggregator(fleet):
    fleet.aggregator.process.kill()
    fleet.aggregator.process.wait(10)
    fleet.aggregator.process.stdout.close()
    fleet.aggregator = fleet._start_aggregator(fleet.directory / "aggregator")


def test_the_others_do_not_wait_for_the_slow_one_and_its_updates_count(tmp_path, job, sources):
    notices, is_killed = [], False
    with LocalFleet(tmp_path / "fleet", job, sources) as fleet:
        while not (notices and isinstance(notices[-1], Done)):
            for notice in fleet.notices(patience_s=40):
                notices.append(notice)
                if not is_killed and isinstance(notice, RoundClosed) and notice.round == KILLED_IN:
                    is_killed = True
                    kill_aggregator(fleet)
                    break
        fleet.wait()
        models = {load(each).weights.tobytes() for each in fleet.directory.glob("device-*/state/model.fedloom")}
    assert is_killed
    assert len(models) == 1
    updates = [each for each in notices if isinstance(each, UpdateSeen) and each.verdict is Verdict.ACCEPTED]
    slow = [each for each in updates if each.device == "device-04" and each.staleness]
    assert slow, "the slow device was never counted"
    assert max(each.staleness for each in slow) < 200
    rounds = {
        (each.round, each.outcome) for each in notices if isinstance(each, RoundClosed) and each.phase is Phase.TRAIN
    }
    assert rounds == {(number, "done") for number in range(1, 61)}
    model = load(next((tmp_path / "fleet").glob("device-*/state/model.fedloom")))
    x = np.array([[0.0], [1.0]], np.float32)
    np.testing.assert_allclose(model.outputs(x)[:, 0], [1.0, 3.0], atol=0.1)
