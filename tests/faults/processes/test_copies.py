"""Copies of a state or of an identity: old ones, and two in use at once. At most one counts, and somebody is told."""

import os
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable

import pytest
from process_fleet import AGGREGATOR, DEVICES, Fleet, Model, is_stopped, needs_patience

from aggregator.notices import Done, RoundClosed, UpdateSeen
from fedloom.wire.messages import Verdict

pytestmark = [pytest.mark.broker, pytest.mark.slow]
MakeFleet = Callable[..., Fleet]
VICTIM = DEVICES[1]
CLONE = "device-2-clone"
RIVAL = "aggregator-2"


def stop_at(fleet: Fleet, name: str, failpoint: str) -> int:
    """Start all, and wait until one of them stands at a failpoint; returns its process."""
    fleet.start({name: [f"{failpoint}:stop@1"]})
    pid = fleet.members[name].pid
    fleet.until(lambda: is_stopped(pid))
    return pid


@pytest.mark.parametrize("at", ["device.outbox-stored", "device.receipt-came", "device.model-renamed"])
def test_a_device_whose_state_is_an_old_copy(at: str, make_fleet: MakeFleet, undisturbed: list[Model]) -> None:
    """Killed at the failpoint, it begins again with the state of before: it may abstain from the round that is open."""
    fleet = make_fleet(deadline_s=4.0)
    needs_patience(fleet.broker)
    fleet.start(names=[VICTIM])
    fleet.until(lambda: "link.up" in fleet.log(VICTIM))
    fleet.members[VICTIM].end()
    fleet.copy_state(VICTIM, "backup")
    stop_at(fleet, VICTIM, at)
    fleet.members.pop(VICTIM).end()
    shutil.rmtree(fleet.state(VICTIM))
    shutil.copytree(fleet.directory / "backup" / "state", fleet.state(VICTIM))
    fleet.start_one(VICTIM)
    fleet.finish()
    assert [each.version for each in fleet.models()] == [each.version for each in undisturbed]
    if all(each.devices == len(DEVICES) for each in fleet.models()):
        assert fleet.models() == undisturbed


def test_a_device_that_lost_its_state(fleet: Fleet, undisturbed: list[Model]) -> None:
    needs_patience(fleet.broker)
    stop_at(fleet, VICTIM, "device.update-published")
    fleet.members.pop(VICTIM).end()
    shutil.rmtree(fleet.state(VICTIM))
    fleet.start_one(VICTIM)
    fleet.finish()
    assert fleet.models() == undisturbed


def test_an_aggregator_whose_state_is_an_old_copy_says_so_and_stops(fleet: Fleet, undisturbed: list[Model]) -> None:
    """Put back by hand while the newer one lay beside it: which one goes on is for a person to say."""
    fleet.start({AGGREGATOR: ["aggregator.manifest-published:stop@1"], VICTIM: ["device.training:stop@1"]})
    pid, trains = fleet.members[AGGREGATOR].pid, fleet.members[VICTIM].pid
    fleet.until(lambda: is_stopped(pid))
    fleet.copy_state(AGGREGATOR, "old")
    os.kill(pid, signal.SIGCONT)
    fleet.until(lambda: is_stopped(trains))  # so the manifest of the next round has left the aggregator
    fleet.members.pop(AGGREGATOR).end()
    fleet.copy_state(AGGREGATOR, "new")
    fleet.copy_state("old", AGGREGATOR)
    fleet.start_one(AGGREGATOR)
    fleet.until(lambda: bool(fleet.deaths))
    assert fleet.deaths == [(AGGREGATOR, 2)]
    assert "this state directory is an old copy" in fleet.log(AGGREGATOR)
    assert "restore the newest copy of the state directory" in fleet.log(AGGREGATOR)
    fleet.copy_state("new", AGGREGATOR)
    fleet.start_one(AGGREGATOR)
    os.kill(trains, signal.SIGCONT)
    fleet.finish()
    assert fleet.models() == undisturbed


def test_two_aggregators_on_one_state_directory(fleet: Fleet, undisturbed: list[Model]) -> None:
    pid = stop_at(fleet, AGGREGATOR, "aggregator.round-committed")
    first = fleet.members[AGGREGATOR]
    fleet.start_one(RIVAL, directory=AGGREGATOR)
    fleet.until(lambda: bool(fleet.deaths))
    assert fleet.deaths == [(RIVAL, 1)]
    assert "another aggregator runs on it; stop that one first" in fleet.log(RIVAL)
    os.kill(pid, signal.SIGCONT)
    fleet.finish()
    assert first.status == 0
    assert fleet.models() == undisturbed


def test_two_aggregators_on_two_copies(fleet: Fleet, undisturbed: list[Model]) -> None:
    """The copy comes while the first one works: it speaks to nobody, and the job ends as if it had not been there."""
    fleet.copy_state(AGGREGATOR, RIVAL)
    stopped = stop_at(fleet, VICTIM, "device.outbox-stored")
    rival = fleet.start_one(RIVAL)
    fleet.until(lambda: bool(fleet.deaths))
    assert rival.status == 2
    assert "another aggregator uses this identity" in fleet.log(RIVAL)
    os.kill(stopped, signal.SIGCONT)
    fleet.finish()
    assert fleet.models() == undisturbed


def test_a_cloned_device_is_counted_once_and_somebody_is_told(make_fleet: MakeFleet) -> None:
    """The same keys and state on two hosts: they take the connection, and the rounds' tasks, from each other."""
    fleet = make_fleet(count=4, deadline_s=2.0, quorum=0.6)
    if fleet.broker.kind == "amqtt":
        pytest.skip("amqtt leaves two clients of one id connected: nobody hears of the other")
    fleet.start(names=[VICTIM])
    fleet.until(lambda: "link.up" in fleet.log(VICTIM))
    fleet.members[VICTIM].end()
    fleet.copy_state(VICTIM, CLONE)
    with (fleet.directory / CLONE / "data.csv").open("a") as file:
        file.write("0.5,0.5,9.0\n")  # another host has other data, so that its updates are others
    fleet.start(names=[AGGREGATOR, VICTIM, CLONE])
    fleet.until(lambda: "device 'device-2' is there twice" in fleet.log(AGGREGATOR))
    fleet.start(names=[DEVICES[0], DEVICES[2]])
    fleet.until(lambda: any(isinstance(each, Done) for each in fleet.notices()))
    for name in (VICTIM, CLONE):
        fleet.members.pop(name).end()
    fleet.finish()
    accepted = Counter(
        (each.round, each.attempt, each.device)
        for each in fleet.notices()
        if isinstance(each, UpdateSeen) and each.verdict is Verdict.ACCEPTED
    )
    assert set(accepted.values()) == {1}


def test_a_device_that_is_gone_delays_nobody_past_the_deadline(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(count=1, deadline_s=2.0, quorum=0.6)
    fleet.start({VICTIM: ["device.training:stop@1"]})
    pid = fleet.members[VICTIM].pid
    fleet.until(lambda: is_stopped(pid))
    fleet.members.pop(VICTIM).end()
    fleet.finish()
    trained = [each for each in fleet.notices() if isinstance(each, RoundClosed) and each.round == 1]
    assert [(each.outcome, each.accepted) for each in trained if each.phase == "train"] == [("done", 2)]
    (seconds,) = [each.seconds for each in trained if each.phase == "train"]
    assert 2.0 <= seconds < 3.0, seconds


def test_a_key_that_was_erased_while_another_process_read_goes_at_the_next_start(fleet: Fleet) -> None:
    """Published, round key not destroyed: the log still has it, because it could not be emptied."""
    stop_at(fleet, AGGREGATOR, "aggregator.manifest-published")
    database = fleet.state(AGGREGATOR) / "aggregator.db"
    reader = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
    reader.execute("begin")
    (key,) = reader.execute("select round_key from rounds where status = 'open'").fetchone()
    fleet.members.pop(AGGREGATOR).end()
    fleet.start_one(AGGREGATOR, fail="aggregator.manifest-published:kill@2")
    fleet.until(lambda: bool(fleet.deaths))
    files = [database, database.with_name("aggregator.db-wal")]
    assert any(bytes(key) in file.read_bytes() for file in files)
    reader.close()
    fleet.start_one(AGGREGATOR)
    fleet.finish()
    assert not any(bytes(key) in file.read_bytes() for file in files if file.exists())
