"""The files of an app's run: how many there may be, what a kill between two leaves, who else looks after them."""

import logging
import shutil
from pathlib import Path

import pytest
from messenger import App, again, answer, killed_app, reply, request

from aggregator import events as ev
from aggregator.backup import take as taking
from aggregator.backup.restore import restore
from aggregator.backup.take import take
from aggregator.config import Retention
from aggregator.exchange import journal
from aggregator.exchange.journal import BLOCK_BYTES, Recalled
from aggregator.store import open_store
from aggregator.upkeep.check import check
from aggregator.upkeep.collect import collect
from fedloom.health.findings import Level


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def killed(make_rig):
    return killed_app(make_rig)


@pytest.fixture
def app(make_rig):
    app = App(make_rig())
    app.boot(resume=True)
    return app


def files(state):
    return sorted(path.name for path in (state / "exchange").glob("*/*"))


def a_round(app, number):
    ids = app.ask(blob=request(number))
    for device in app.rig.devices:
        answer(app, device, reply(number))
    assert [app.settled[each] for each in ids] == [reply(number)] * len(ids)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_journal_beyond_its_bound_is_given_up_whole_and_the_run_goes_on(make_rig, caplog, restarts):
    app = App(make_rig())
    app.max_bytes = 4 * BLOCK_BYTES  # three rounds: what two have brought, their requests side by side
    app.boot(resume=True)
    for number in range(1, 4):
        a_round(app, number)
        if restarts:
            app.rig.crash()
            app.boot(resume=True)
    assert files(app.rig.state) == ["0000001.told", "0000002.told", "0000003.request", "0000003.told"]
    job = app.rig.devices[0].manifest.job
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        a_round(app, 4)
        a_round(app, 5)
    assert [each.message.split()[0] for each in caplog.records] == ["journal.given_up"]
    assert f"retention.journal_bytes={app.max_bytes}" in caplog.text
    assert files(app.rig.state) == []
    assert app.rig.devices[0].manifest.job == job
    assert again(app, request(1))[1] == app.rig.devices  # who is asked again
    app.rig.crash()
    app.boot(resume=True)
    app.ask()
    manifest = app.rig.devices[0].manifest
    assert (manifest.round, manifest.job == job) == (1, False)


def test_a_kill_while_it_is_given_up_begins_a_new_run(killed, monkeypatch):
    def part(directory):
        min(Path(directory).glob("*.told")).unlink()  # without the newest nothing would be lost
        raise Killed

    killed.max_bytes = 3 * BLOCK_BYTES
    killed.boot(resume=True)
    killed.ask(blob=request(2.0))
    monkeypatch.setattr(journal.shutil, "rmtree", part)
    first, second, last = killed.rig.devices
    killed.ask(first, blob=request(3.0))
    answer(killed, second)
    with pytest.raises(Killed):
        answer(killed, last)
    monkeypatch.undo()
    killed.rig.crash()
    killed.settled.clear()
    killed.boot(resume=True)
    killed.ask()
    assert killed.rig.devices[0].manifest.round == 1


def test_what_is_given_up_while_the_app_asks_for_it_is_asked_of_the_devices(killed):
    killed.boot(resume=True)
    shutil.rmtree(killed.rig.state / "exchange")
    assert again(killed)[1] == killed.rig.devices


@pytest.mark.parametrize("writes", [0, 1])
def test_a_kill_between_two_files_of_a_turn_loses_nothing(app, monkeypatch, writes):
    write, left = journal.write_durably, [None] * writes

    def until_killed(path, data):
        if not left:
            raise Killed
        left.pop()
        write(path, data)

    device = app.rig.devices[0]
    app.ask(device)
    app.ask(device, blob=request(2.0))  # opens in the turn in which the first is over
    monkeypatch.setattr(journal, "write_durably", until_killed)
    with pytest.raises(Killed):
        answer(app, device, reply(7))
    assert files(app.rig.state) == ["0000001.request", "0000001.told"][: 1 + writes]
    monkeypatch.undo()
    app.rig.crash()
    app.settled.clear()
    app.boot(resume=True)
    (first,), (second,) = app.ask(device), app.ask(device, blob=request(2.0))
    answer(app, device, reply(8))
    assert app.settled == {first: reply(7), second: reply(8)}


def complaints(app):
    found = list(check(app.rig.state))
    assert "journals" in {each.check for each in found}
    return [(each.level, each.seen, each.do) for each in found if each.level is not Level.OK]


def test_check_names_what_is_damaged_or_missing_of_a_run_that_can_be_carried_on(killed):
    assert files(killed.rig.state) == ["0000001.told", "0000002.request"]
    assert complaints(killed) == []
    for path in sorted((killed.rig.state / "exchange").glob("*/*")):
        whole = path.read_bytes()
        for place in (0, 40, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert complaints(killed) == [(Level.FAIL, f"{path}: is damaged", check_says())]
        path.unlink()
        assert complaints(killed) == [(Level.FAIL, f"{path}: is missing", check_says())]
        path.write_bytes(whole)
    assert complaints(killed) == []


def check_says():
    return "the app's run cannot be carried on: start it without --resume, and a new one begins; look at the disk"


def test_check_only_warns_of_a_run_that_is_over(killed):
    killed.boot(resume=True)
    killed.rig.handle(ev.Ended())
    killed.rig.work()
    killed.rig.now_s += 60.0
    killed.rig.handle(ev.Tick())
    killed.rig.work()
    path = next((killed.rig.state / "exchange").glob("*/*.told"))
    path.write_bytes(path.read_bytes()[:-1])
    ((level, seen, do),) = complaints(killed)
    assert (level, seen) == (Level.WARN, f"{path}: is damaged")
    assert "fedloom aggregator gc" in do
    path.unlink()
    assert complaints(killed) == []


def freed(app, *, is_dry=False):
    with open_store(app.rig.state) as store:
        found = collect(app.rig.state, store, Retention(), 100, is_dry=is_dry)
        return {each.what: (each.count, each.bytes) for each in found}.get("journal")


def test_gc_removes_the_journal_of_a_run_that_is_over_and_no_other(killed):
    stray = killed.rig.state / "exchange" / ("00" * 16)
    stray.mkdir()
    (stray / "0000001.told").write_bytes(b"left")
    assert freed(killed, is_dry=True) == (1, 4)
    assert freed(killed) == (1, 4)
    assert files(killed.rig.state) == ["0000001.told", "0000002.request"]
    killed.boot(resume=True)  # nothing of it was lost
    assert again(killed)[0][killed.rig.devices[0]] == Recalled(reply(0))
    killed.rig.handle(ev.Ended())
    killed.rig.now_s += 60.0
    killed.rig.handle(ev.Tick())
    killed.rig.work()
    assert freed(killed)[0] == 1
    assert list((killed.rig.state / "exchange").iterdir()) == []


def test_gc_leaves_a_run_that_has_no_round_yet(app):
    assert freed(app) is None
    a_round(app, 1)
    assert app.rig.devices[0].manifest.round == 1


def quiet(*progress):
    """Nobody watches."""


def test_a_restored_run_is_carried_on_from_its_journal(killed, tmp_path):
    told = next((killed.rig.state / "exchange").glob("*/*.told"))
    name, content = told.relative_to(killed.rig.state), told.read_bytes()
    inventory = take(killed.rig.state, tmp_path / "backup", quiet)
    assert {each for each in inventory.files if each.startswith("exchange/")} == {name.as_posix()}
    job = killed.rig.devices[0].manifest.job
    killed.boot(resume=True)
    for device in killed.rig.devices[1:]:
        answer(killed, device)
    killed.ask(blob=request(2.0))
    a_round(killed, 3.0)  # which is lost
    killed.rig.crash()
    shutil.rmtree(killed.rig.state)
    restore(tmp_path / "backup", killed.rig.state, quiet)
    assert (killed.rig.state / name).read_bytes() == content
    killed.settled.clear()
    killed.boot(resume=True)
    assert complaints(killed) == []
    assert again(killed)[0][killed.rig.devices[0]] == Recalled(reply(0))
    assert again(killed, request(2.0))[1] == killed.rig.devices  # of the round that was open nobody was told
    a_round(killed, 2.0)
    manifest = killed.rig.devices[0].manifest
    assert (manifest.job, manifest.round) == (job, 3)


def test_a_journal_that_is_given_up_during_a_backup_is_not_in_it(killed, tmp_path, monkeypatch):
    copy = taking.copy_database

    def given_up(source, target):
        copy(source, target)
        shutil.rmtree(killed.rig.state / "exchange", ignore_errors=True)

    monkeypatch.setattr(taking, "copy_database", given_up)
    inventory = take(killed.rig.state, tmp_path / "backup", quiet)
    assert not any(each.startswith("exchange/") for each in inventory.files)
    assert (tmp_path / "backup" / "exchange").is_dir()
