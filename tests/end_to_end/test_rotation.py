"""The aggregator's key is rotated in the middle of rounds of a fleet of real processes: nothing else changes."""

import signal

import pytest

from aggregator import keys
from aggregator.notices import Done, RoundClosed, RoundOpened
from aggregator.roots import changes as root_changes
from fedloom.learning.model_file import load
from fedloom.trust.documents import peek_root
from simulation.processes import LocalFleet

ROTATED_IN = (2, 4)


@pytest.fixture
def sources(make_data):
    return make_data("regression", devices=3, seed=3)


@pytest.fixture
def job(examples, tmp_path):
    text = (examples / "regression" / "job.toml").read_text()
    path = tmp_path / "job.toml"
    path.write_text(text.replace("devices = 5", "devices = 3"))
    return path


def rotate(fleet):
    """As an operator does, but in mid-round."""
    fleet.aggregator.process.send_signal(signal.SIGTERM)
    fleet.aggregator.process.wait(10)
    fleet.aggregator.process.stdout.close()
    root_changes.rotate(fleet.directory / "aggregator")
    fleet.aggregator = fleet._start_aggregator(fleet.directory / "aggregator")


def run(directory, job, sources, rotated_in=()):
    """The final weights as bytes, and how each round was closed."""
    waiting, closed = list(rotated_in), []
    with LocalFleet(directory, job, sources) as fleet:
        while not closed or closed[-1] is not None:
            for notice in fleet.notices(patience_s=40):
                if isinstance(notice, RoundClosed):
                    closed.append((notice.round, notice.attempt, notice.outcome, notice.accepted))
                if isinstance(notice, RoundOpened) and waiting and notice.round == waiting[0]:
                    del waiting[0]
                    rotate(fleet)
                    break
                if isinstance(notice, Done):
                    closed.append(None)
        fleet.wait()
        assert not waiting
    weights = {load(each).weights.tobytes() for each in directory.glob("device-*/state/model.fedloom")}
    assert len(weights) == 1
    return weights, closed


def test_rounds_in_flight_finish_and_the_model_is_the_same_bit_for_bit(tmp_path, job, sources):
    undisturbed = run(tmp_path / "undisturbed", job, sources)
    assert run(tmp_path / "rotated", job, sources, ROTATED_IN) == undisturbed
    root = keys.load(tmp_path / "rotated" / "aggregator").root
    assert root.version == 1 + len(ROTATED_IN)
    held = [each.read_bytes() for each in (tmp_path / "rotated").glob("device-*/keys/root")]
    assert [peek_root(each) for each in held] == [root] * len(sources)
