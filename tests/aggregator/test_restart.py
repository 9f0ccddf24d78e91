"""What a new process finds: the same round, the same keys, the answers that were durable."""

import json
import shutil
import sqlite3

import pytest
from sqlalchemy import select

from aggregator import events as ev
from aggregator import history, keys
from aggregator import tables as t
from aggregator.notices import RoundClosed, RoundOpened, Started
from aggregator.row_checks import register
from aggregator.state_lock import exclusive
from fedloom.errors import StoreError
from fedloom.job.rounds import Stopping
from fedloom.wire.messages import Closed, Verdict


def test_the_round_goes_on_with_the_answers_it_had(rig):
    first, second, third = rig.devices
    manifest, blob = first.manifest_hash, first.update()
    rig.send(first, blob)
    rig.work()
    rig.crash()
    rig.boot()
    assert first.manifest_hash == manifest
    rig.ready()
    assert (len(first.tasks), len(second.tasks)) == (1, 2)
    rig.send(first, blob)
    assert rig.verdicts(first) == [Verdict.ACCEPTED, Verdict.ACCEPTED]
    for device in (second, third):
        rig.send(device, device.update())
    rig.work()
    assert rig.told(RoundClosed)[0].accepted == 3


def test_an_answer_that_was_not_durable_is_taken_again(rig):
    device = rig.devices[0]
    blob = device.update()
    rig.send(device, blob)
    rig.crash()
    rig.boot()
    rig.send(device, blob)
    rig.work()
    assert rig.verdicts(device) == [Verdict.ACCEPTED]


def test_a_round_that_was_complete_closes_at_once(rig):
    for device in rig.devices:
        rig.send(device, device.update())
    rig.work_once()
    rig.crash()
    rig.boot()
    rig.work()
    assert [n.round for n in rig.told(RoundClosed)] == [1]


def test_a_round_committed_but_not_published_is_published(make_rig):
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.parts.archive.turn(rig.orders.popleft())
    rig.crash()
    assert rig.devices[0].topics.manifest not in rig.retained
    rig.boot()
    assert rig.devices[0].manifest.round == 1
    rig.ready()
    rig.finish_job()


def test_a_finished_job_is_not_run_again(rig):
    rig.finish_job()
    opened = len(rig.told(RoundOpened))
    rig.crash()
    rig.finished = False
    rig.boot()
    rig.ready()
    rig.leave()
    assert rig.finished
    assert len(rig.told(RoundOpened)) == opened


def test_a_changed_job_is_a_new_run_with_higher_manifest_and_model_versions(make_rig):
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.work()
    rig.finish_job()
    last, old = rig.devices[0].manifest.version, rig.devices[0].manifest_hash
    rig.crash()
    path = rig.config.job
    path.write_text(path.read_text().replace("seed = 7", "seed = 8"))
    rig.finished = False
    rig.boot()
    rig.ready()
    rig.work()
    manifest = rig.devices[0].manifest
    assert (manifest.version, manifest.previous) == (last + 1, old)
    assert manifest.model.version == 3
    rig.finish_job()


def test_a_job_that_older_software_has_begun_goes_on(rig):
    """Which had no key `cohort`, and wrote the others as they are."""
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    store = rig.parts.archive.store
    with store.engine.begin() as connection:
        (definition,) = connection.scalars(select(t.jobs.c.definition))
        older = {key: value for key, value in json.loads(definition).items() if key != "cohort"}
        connection.execute(t.jobs.update().values(definition=json.dumps(older).encode()))
    before = rig.devices[0].manifest_hash
    rig.crash()
    rig.boot()
    assert rig.devices[0].manifest_hash == before
    assert rig.told(Started)[-1].resumed


def test_the_key_of_a_closed_round_is_nowhere_in_the_files(rig):
    store = rig.parts.archive.store
    with store.engine.connect() as connection:
        key = connection.exec_driver_sql("select round_key from rounds where status = 'open'").scalar_one()
    rig.answer_all()
    with store.engine.connect() as connection:
        kept = connection.exec_driver_sql("select round_key from rounds where round = 1").scalar_one()
    assert kept is None
    assert not files_with(key, rig.state)


def test_a_key_that_a_killed_process_could_not_forget_is_gone_after_the_start(make_rig, tmp_path):
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.work()
    key = rig.parts.core.coordinator._intake.opened.round_key
    rig.parts.archive.store.forget = lambda: False  # killed between the commit and the checkpoint
    rig.answer_all()
    killed = tmp_path / "killed"
    shutil.copytree(rig.state, killed)
    assert files_with(key, killed)
    rig.crash()
    shutil.rmtree(rig.state)
    killed.rename(rig.state)
    rig.boot()
    assert not files_with(key, rig.state)


def test_a_reader_delays_the_forgetting_but_nothing_else(rig):
    key = rig.parts.core.coordinator._intake.opened.round_key
    with sqlite3.connect(rig.parts.archive.store.path) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from rounds").fetchone()
        rig.answer_all()
        assert rig.told(RoundClosed)
        assert files_with(key, rig.state)
    reader.close()
    rig.parts.archive.changed_fleet()
    assert not files_with(key, rig.state)


def test_a_job_that_was_changed_in_mid_round_closes_that_round(rig):
    key, old = rig.parts.core.coordinator._intake.opened.round_key, rig.devices[0].manifest
    rig.crash()
    rig.config.job.write_text(rig.config.job.read_text().replace("seed = 7", "seed = 8"))
    rig.boot()
    assert not files_with(key, rig.state)
    store = rig.parts.archive.store
    with store.engine.connect() as connection:
        columns = "status, reason, round_key, closed_at is not null"
        rows = connection.exec_driver_sql(f"select {columns} from rounds").all()
        (run,) = connection.exec_driver_sql("select id from jobs order by number desc limit 1").one()
    assert rows == [("aborted", "another job was started", None, True)]
    assert history.snapshot(store, run, Stopping()).closes == Closed(old.round, old.attempt, "aborted")


def files_with(secret, directory):
    return sorted(file for file in directory.rglob("*") if file.is_file() and secret in file.read_bytes())


def test_all_files_are_private(rig):
    rig.finish_job()
    assert rig.state.stat().st_mode & 0o777 == 0o700
    for name in ("aggregator.db", "keys/aggregator.key"):
        assert (rig.state / name).stat().st_mode & 0o777 == 0o600
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in rig.state.rglob("*.spool"))


def test_a_second_aggregator_refuses(tmp_path):
    keys.init(tmp_path / "state", "x25519")
    with exclusive(tmp_path / "state"), pytest.raises(StoreError, match="another aggregator"):  # noqa: SIM117
        with exclusive(tmp_path / "state"):
            pass


def test_a_damaged_database_is_refused(rig):
    rig.answer_all()
    path = rig.parts.archive.store.path
    with rig.parts.archive.store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    rig.crash()
    data = bytearray(path.read_bytes())
    data[0:4096] = bytes(4096)
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"cannot be used|damaged"):
        rig.boot()


def test_another_schema_is_refused(rig):
    path = rig.parts.archive.store.path
    rig.crash()
    with sqlite3.connect(path) as connection:
        register(connection)
        connection.execute("update meta set value = '99' where key = 'schema'")
    connection.close()
    with pytest.raises(StoreError, match="schema 99"):
        rig.boot()


def test_a_broker_that_has_lost_everything_gets_it_all_again(rig):
    device, retained = rig.devices[0], dict(rig.retained)
    ref = device.manifest.model
    rig.crash()
    rig.retained.clear()
    rig.boot()
    assert rig.retained == retained
    assert rig.retained[device.topics.chunk(ref.cipher_hash, 0)]


def test_a_late_update_is_late_again_after_a_restart(make_rig):
    """Which rounds are over is known from the store; what was said before need not be."""
    rig = make_rig(devices=4, cohort=0.5, over_selection=2.0, count=5)
    rig.boot()
    rig.ready()
    rig.work()
    slow = rig.devices[3]
    late = slow.update()
    for device in rig.devices[:2]:
        rig.send(device, device.update())
    rig.work()
    rig.send(slow, late)
    rig.crash()
    rig.boot()
    rig.send(slow, late)
    rig.now_s += 10
    rig.send(slow, late)
    assert rig.verdicts(slow) == [Verdict.LATE] * 3
    assert not rig.orders


def test_a_silent_device_delays_no_round_past_its_deadline_whenever_the_aggregator_restarts(make_rig):
    """The new process gives the round a deadline's time again, and no more."""
    rig = make_rig(devices=4, quorum=0.5)
    rig.boot()
    rig.ready()
    rig.work()
    for device in rig.devices[:2]:
        rig.send(device, device.update())
    rig.work()
    rig.now_s += 59.0
    rig.crash()
    rig.boot()
    rig.ready()
    rig.now_s += 60.0
    rig.handle(ev.Tick())
    rig.work()
    closed = rig.told(RoundClosed)[-1]
    assert (closed.outcome, closed.accepted) == ("done", 2)
