"""A job that is robust: what it remembers survives a kill, and its rounds are verified, whatever they were sent as."""

import json

import numpy as np
import pytest

from aggregator.events import Tick
from aggregator.notices import RoundClosed
from fedloom.command import main
from fedloom.errors import ConfigError
from fedloom.wire import encoding
from fedloom.wire.messages import Update


@pytest.fixture
def make_job(make_rig, tmp_path):
    def make(name, strategy, encoding="float32", **rounds):
        (tmp_path / name).mkdir()
        rig = make_rig(devices=7, count=4, directory=tmp_path / name, encoding=encoding, **rounds)
        rig.config.job.write_text(rig.config.job.read_text() + f"[strategy]\n{strategy}\n")
        (rig.directory / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
        return rig

    return make


def play(rig, killed_after=0):
    """All rounds; two of seven devices attack."""
    rig.boot()
    rig.ready()
    rig.work()
    for number in range(50):
        if rig.finished:
            return rig
        if number == killed_after:
            rig.crash()
            rig.boot()
            rig.ready()
        attack(rig)
        rig.answer_all()
        rig.leave_if_done()
    raise AssertionError("the job does not end")


def attack(rig):
    for device in rig.devices[:2]:
        if device.task() and device.task().train:
            vector = encoding.encode(np.full(4, -200.0, np.float32), device.brief().encoding)
            rig.send(device, device.update(Update(900, 1, 0.5, vector, b"", "")))
    rig.work()


def models(rig):
    return [path.read_bytes() for path in sorted((rig.state / "models").rglob("*.state"))]


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_kill_changes_nothing_that_is_remembered(make_job, killed_after):
    whole = play(make_job("whole", "robust = true"))
    killed = play(make_job("killed", "robust = true"), killed_after)
    assert models(whole) == models(killed) != []


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize(
    "strategy", ["robust = true", 'name = "bulyan"', 'name = "median"\nbefore = ["nearest_neighbour_mixing"]']
)
def test_its_rounds_are_verified(make_job, capsys, strategy, kind):
    rig = play(make_job("job", strategy, kind))
    assert all(closed.outcome == "done" for closed in rig.told(RoundClosed))
    for number in (1, 3):
        with pytest.raises(SystemExit) as end:
            main(["round", "verify", "line", str(number), "--json", "--config", str(rig.directory / "aggregator.toml")])
        assert not end.value.code
        assert json.loads(capsys.readouterr().out)["outcome"] == "identical"


def test_attackers_do_not_make_the_model(make_job):
    rig = play(make_job("job", "robust = true"))
    assert np.linalg.norm(rig.parts.core.coordinator._progress.model.weights) < 8


def test_too_few_updates_for_the_attackers_assumed_are_an_aborted_round(make_job):
    """Seven devices are enough for f = 2; one of them is silent."""
    rig = make_job("job", 'name = "krum"\noptions = { f = 2 }', quorum=0.5)
    rig.boot()
    rig.ready()
    rig.work()
    for device in rig.devices[1:]:
        rig.send(device, device.update())
    rig.now_s += 100.0
    rig.handle(Tick())
    rig.work()
    closed = rig.told(RoundClosed)[0]
    assert closed.outcome == "aborted"
    assert "krum withstands f = 2 attackers among 7 updates or more, and here are 6" in closed.reason


def test_an_f_that_no_round_can_meet_is_refused_at_the_start(make_job):
    with pytest.raises(ConfigError, match=r"rounds\.devices: 7 bring 7 updates .*'krum' with f = 3 needs 9"):
        make_job("job", 'name = "krum"\noptions = { f = 3 }').boot()
