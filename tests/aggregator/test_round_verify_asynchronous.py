"""`fedloom round verify` of asynchronous rounds: stale updates, two of a device, deadlines, tries again, restarts."""

import json
from random import Random

import msgspec
import pytest

from aggregator import events as ev
from aggregator.config import Loaded, Retention
from aggregator.notices import RoundClosed
from fedloom.command import main
from fedloom.wire.messages import Phase, Verdict

DEVICES = 5


@pytest.fixture
def make_job(make_rig, capsys):
    """An asynchronous job, and `fedloom round …` for it."""

    def make(**settings):
        rig = make_rig(devices=DEVICES, **({"count": 4, "buffer": 3, "inputs": 7} | settings))
        retention = Retention(models=100, rounds=100)
        rig.config = Loaded(
            msgspec.structs.replace(rig.config.config, retention=retention), rig.config.state, rig.config.job
        )
        config = rig.directory / "aggregator.toml"
        config.write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
        rig.boot()
        rig.ready()
        rig.work()

        def command(*words):
            with pytest.raises(SystemExit) as end:
                main(["round", *words, "--config", str(config), "--json"])
            return end.value.code or 0, json.loads(capsys.readouterr().out)

        rig.command = command
        return rig

    return make


def answer(rig, *numbers):
    for number in numbers:
        rig.send(rig.devices[number], rig.devices[number].update())
    rig.work()


def restart(rig):
    rig.crash()
    rig.boot()
    rig.ready()
    rig.work()


def deadline(rig):
    rig.now_s += 61.0
    rig.handle(ev.Tick())
    rig.work()
    rig.ready()
    rig.work()


def assert_verified(rig):
    """All rounds that are done."""
    closed = [each for each in rig.told(RoundClosed) if each.outcome == "done"]
    for each in closed:
        status, found = rig.command("verify", "line", str(each.round))
        assert (status, found["outcome"], found["problems"]) == (0, "identical", [])
        assert found["recorded"] == found["recomputed"]
        assert found["updates"] == each.accepted
    return closed


def test_rounds_with_stale_updates_and_two_of_a_device(make_job):
    rig = make_job(min_updates=1)
    slow = rig.devices[4]
    stale = slow.update()
    answer(rig, 0, 1, 2)
    rig.send(slow, stale)
    rig.work()
    restart(rig)
    answer(rig, 4, 3)
    assert rig.verdicts(slow) == [Verdict.ACCEPTED] * 2
    answer(rig, 0, 1, 2)
    answer(rig, 0, 1, 2)
    rig.finish_job()
    assert [each.accepted for each in assert_verified(rig)][:4] == [3, 3, 3, 3]
    (shown,) = rig.command("show", "line", "2")[1]
    assert shown["counted"] == 3


def test_a_stale_update_that_was_left_out_is_found(make_job):
    rig = make_job(min_updates=1)
    stale = rig.devices[4].update()
    answer(rig, 0, 1, 2)
    rig.send(rig.devices[4], stale)
    answer(rig, 0, 1)
    (path,) = rig.state.rglob("r0000002-a*.spool")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert main(["round", "verify", "line", "2", "--config", str(rig.directory / "aggregator.toml")]) == 1


def step(rig, rng, old):
    """Something that may happen to a job."""
    device = rng.choice(rig.devices)
    match rng.choice(["answer", "answer", "answer", "keep", "late", "late", "restart", "deadline", "leave", "ready"]):
        case "answer" if device.task():
            rig.send(device, device.update())
        case "keep" if device.task() and device.manifest.phase is Phase.TRAIN:
            old.append((device, device.update()))
        case "late" if old:
            rig.now_s += 2.0
            rig.send(*rng.choice(old))
        case "restart":
            restart(rig)
        case "deadline" if rng.random() < 0.3:
            deadline(rig)
        case "leave":
            rig.leave(device, state=rng.choice(["sleeping", "disconnected", "lost"]))
        case "ready":
            rig.ready(device)
    if rng.random() < 0.7:
        rig.work()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_each_round_can_be_recomputed(make_job, seed):
    rng, old = Random(seed), []
    settings = {"buffer": rng.choice([1, 2, 4]), "max_staleness": rng.choice([1, 3]), "min_updates": 1}
    rig = make_job(count=6, standardise=rng.choice(["false", "true"]), **settings)
    for _ in range(60):
        step(rig, rng, old)
        if rig.devices[0].manifest.phase is Phase.DONE:
            break
    rig.work()
    assert assert_verified(rig)
