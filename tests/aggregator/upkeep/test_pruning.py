"""The database stays small, and keeps what a restart, a receipt or a recomputation needs."""

import msgspec
import pytest

from aggregator import history
from aggregator.config import Retention
from aggregator.store import open_store
from aggregator.upkeep.rows import ROUNDS_A_TURN, due_rounds
from fedloom.job import load_job
from fedloom.job.rounds import Asynchronous

KEPT = 3


@pytest.fixture
def make_run(make_rig):
    """`make_run(rounds)`: a rig that keeps little, as many rounds later."""

    def make(rounds):
        rig = make_rig(count=60)
        retention = Retention(models=1, rounds=1, history=KEPT)
        changed = msgspec.structs.replace(rig.config.config, retention=retention)
        rig.config = msgspec.structs.replace(rig.config, config=changed)
        rig.boot()
        rig.ready()
        rig.work()
        for _ in range(rounds):
            rig.answer_all()
        return rig

    return make


def count(rig, table, where="1"):
    with rig.parts.archive.store.engine.connect() as connection:
        return connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {where}").scalar_one()


def test_answers_invitations_and_manifests_of_old_rounds_go_but_a_line_stays(make_run):
    rig = make_run(30)
    most = KEPT + ROUNDS_A_TURN
    assert count(rig, "rounds") == 31
    assert KEPT < count(rig, "rounds", "length(manifest) > 0") <= most
    assert count(rig, "updates") <= 3 * most
    assert count(rig, "invitations") <= 3 * most
    assert count(rig, "rounds", "length(manifest) = 0 AND (model_key IS NOT NULL OR length(brief_key) > 0)") == 0
    assert count(rig, "rounds", "metrics IS NULL AND status = 'done'") == 0
    assert len(history.rounds_of(rig.parts.archive.store, history.newest_job(rig.parts.archive.store)[0])) == 31


def test_a_run_that_was_pruned_goes_on_after_a_restart_and_receipts_are_repeated(make_run):
    rig = make_run(20)
    device = rig.devices[0]
    blob = device.update()
    rig.send(device, blob)
    rig.work()
    rig.crash()
    rig.boot()
    rig.ready()
    rig.send(device, blob)
    assert len(rig.verdicts(device)) == 22
    rig.finish_job(80)


def test_a_turn_prunes_a_few_rounds_so_that_an_old_database_does_not_stall_it(make_run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("aggregator.store.Store.prune", lambda *arguments: None)
        rig = make_run(3 * ROUNDS_A_TURN)
    before = count(rig, "rounds", "length(manifest) > 0")
    rig.answer_all()
    assert count(rig, "rounds", "length(manifest) > 0") == before + 1 - ROUNDS_A_TURN


def test_most_turns_write_nothing_for_it(make_run):
    rig = make_run(0)
    written = []
    store = rig.parts.archive.store
    exclusively = store.exclusively
    store.exclusively = lambda: written.append(True) or exclusively()
    for _ in range(4 * ROUNDS_A_TURN):
        rig.answer_all()
    turns = 4 * ROUNDS_A_TURN
    assert len(written) <= 2 * turns + turns / ROUNDS_A_TURN


def test_versions_that_were_left_out_make_no_round_older(make_run):
    rig = make_run(5)
    rig.crash()
    with open_store(rig.state) as store, store.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        for table in ("updates", "invitations", "rounds"):
            connection.exec_driver_sql(
                f"UPDATE {table} SET manifest_version = manifest_version + 1000000000000 WHERE manifest_version > 3"
            )
        connection.exec_driver_sql("UPDATE updates SET counted_in = manifest_version")
        connection.commit()
        assert due_rounds(connection, 3) == [1, 2, 3]


def test_asynchronous_jobs_keep_what_may_still_be_answered(make_rig):
    job = load_job(make_rig().config.job)
    stale = msgspec.structs.replace(job, asynchronous=Asynchronous(buffer=2, max_staleness=50))
    assert Retention(rounds=3, history=10).rounds_kept(job) == 10
    assert Retention(rounds=3, history=10).rounds_kept(stale) == 55
    assert Retention(rounds=30, history=10).rounds_kept(None) == 32
