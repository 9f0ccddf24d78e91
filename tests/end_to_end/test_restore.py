"""A backup is made in mid-run, the host is lost some rounds later, and the backup is all that is left."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from aggregator.backup.leap import RESTORED
from aggregator.notices import Done, RoundClosed, RoundOpened
from aggregator.store import open_store
from fedloom.learning.model_file import load
from simulation.processes import LocalFleet

ROUNDS = 150
"""Enough that the job is not done before the backup is, and some rounds after it."""
BACKED_UP_IN, LOST_LATER = 4, 10


@pytest.fixture
def sources(make_data):
    return make_data("regression", devices=3, seed=3)


@pytest.fixture
def job(examples, tmp_path):
    text = (examples / "regression" / "job.toml").read_text()
    path = tmp_path / "job.toml"
    path.write_text(text.replace("devices = 5", "devices = 3").replace("count = 60", f"count = {ROUNDS}"))
    return path


def command(fleet, *arguments):
    """Run `fedloom aggregator …` as the operator of this fleet."""
    config = fleet.directory / "aggregator.toml"
    call = [sys.executable, "-m", "fedloom.command", "aggregator", *arguments, "--config", str(config), "--json"]
    return json.loads(subprocess.run(call, check=True, capture_output=True, text=True, timeout=60).stdout)


def lose_and_restore(fleet, backup):
    """SIGKILL in mid-round; the disk is gone with all that is on it."""
    state = fleet.directory / "aggregator"
    fleet.aggregator.process.send_signal(signal.SIGKILL)
    fleet.aggregator.process.wait(10)
    fleet.aggregator.process.stdout.close()
    shutil.rmtree(state)
    command(fleet, "restore", str(backup))
    fleet.aggregator = fleet._start_aggregator(state)


def run(directory, job, sources, *, loses):
    """The final weights as bytes, the rounds that were closed in their order, and the round that was backed up."""
    closed, is_over, backed_up = [], False, None
    with LocalFleet(directory, job, sources) as fleet:
        backup = fleet.directory / "backup"
        while not is_over:
            for notice in fleet.notices(patience_s=40):
                if isinstance(notice, RoundClosed):
                    closed.append((notice.round, notice.attempt, notice.outcome, notice.accepted))
                if loses and isinstance(notice, RoundOpened):
                    if backed_up is None and notice.round == BACKED_UP_IN:
                        backed_up = command(fleet, "backup", str(backup))["manifest_version"]
                    elif backed_up is not None and notice.round > backed_up + LOST_LATER:
                        loses = False
                        lose_and_restore(fleet, backup)
                        break
                is_over = isinstance(notice, Done)
        fleet.wait()
    weights = {load(each).weights.tobytes() for each in directory.glob("device-*/state/model.fedloom")}
    assert len(weights) == 1
    return weights, closed, backed_up


@pytest.mark.slow
def test_what_was_lost_is_done_again_and_the_model_is_the_same_bit_for_bit(tmp_path, job, sources):
    expected, _, _ = run(tmp_path / "undisturbed", job, sources, loses=False)
    weights, closed, version = run(tmp_path / "restored", job, sources, loses=True)
    assert weights == expected
    numbers = [number for number, *_ in closed]
    again = next(place for place in range(1, len(numbers)) if numbers[place] < numbers[place - 1])
    assert numbers[again:] == sorted(numbers[again:])
    assert {*numbers[again:]} == {*range(numbers[again], ROUNDS + 2)}  # the last one evaluates
    assert {accepted for *_, accepted in closed} == {3}
    with open_store(tmp_path / "restored" / "aggregator") as store, store.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT round, reason FROM rounds WHERE status = 'aborted'").all()
    assert rows == [(numbers[again], RESTORED)]
    assert numbers[again] <= version
