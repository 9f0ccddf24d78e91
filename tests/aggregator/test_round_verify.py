"""`fedloom round`: recomputing a fusion, what it finds, and what it says where something is gone."""

import json
import re
import sqlite3
from contextlib import closing

import pytest
from moments import MomentsStrategy

import strategies
from aggregator import build, history, past_rounds, row_checks
from fedloom.command import main
from strategies.composed import Composed


@pytest.fixture
def job(make_rig, monkeypatch, capsys, request):
    """A job that has run, and `fedloom round …` for it; a strategy may be given."""
    monkeypatch.setitem(strategies.registry.WHOLE, "moments", MomentsStrategy)
    rig = make_rig(devices=4, count=3, standardise="true", encoding="int8")
    path = rig.config.job
    path.write_text(path.read_text() + f'[strategy]\nname = "{getattr(request, "param", "moments")}"\n')
    config = rig.directory / "aggregator.toml"
    config.write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
    rig.boot()
    rig.ready()
    rig.work()
    rig.finish_job()

    def command(*words, status=0):
        with pytest.raises(SystemExit) as end:
            main(["round", *words, "--config", str(config)])
        assert (end.value.code or 0) == status
        return capsys.readouterr().out

    rig.command = command
    return rig


def fail(job, capsys, *words):
    status = main(["round", *words, "--config", str(job.directory / "aggregator.toml")])
    return status, capsys.readouterr().err


def verify(job, number, status=0):
    return json.loads(job.command("verify", "line", str(number), "--json", status=status))


def change(job, statement):
    with closing(sqlite3.connect(job.state / "aggregator.db")) as connection, connection:
        row_checks.register(connection)
        connection.execute(statement)


def segment(job, number):
    (path,) = job.state.rglob(f"r{number:07d}-a*.spool")
    return path


@pytest.mark.parametrize("number", range(5))
def test_every_phase_is_recomputed_beside_the_running_aggregator(job, number):
    found = verify(job, number)
    assert (found["outcome"], found["problems"]) == ("identical", [])
    assert found["recorded"] == found["recomputed"]
    assert found["build"] == found["build_here"] == build.current()
    assert found["updates"] == 4


def test_it_says_so_to_people(job):
    said = job.command("verify", "line", "2")
    assert "the same bits as recorded" in said
    assert "4 updates, fused by the same build" in said


def test_rounds_are_listed_and_shown(job):
    assert job.command("list", "line").splitlines()[0] == "round 0 (statistics), attempt 1: done"
    (shown,) = json.loads(job.command("show", "line", "2", "--json"))
    assert shown["answers"] == {"accepted": 4}
    assert (shown["counted"], shown["invited"], shown["build"]) == (4, 4, build.current())
    assert "4 invited: 4 accepted; 4 counted" in job.command("show", "line", "2")
    run = past_rounds.find_run(job.parts.archive.store, "line").id.hex()
    assert len(json.loads(job.command("list", run, "--json"))) == 6


def test_another_hash_is_found(job):
    change(job, "update models set hash = zeroblob(32) where version = 2")
    found = verify(job, 2, status=1)
    assert found["outcome"] == "different"
    assert found["problems"] == ["the model differs from the recorded hash, on the same build"]


def off_by(monkeypatch, kind, places):
    """Fuse with another first weight: so many last places of 1 further on."""
    fuse = kind.fuse

    def otherwise(self, weights, updates, state):
        fused = fuse(self, weights, updates, state)
        fused.weights[0] += places * 2.0**-23
        return fused

    monkeypatch.setattr(kind, "fuse", otherwise)


@pytest.mark.parametrize("job", ["fedavg"], indirect=True)
def test_another_build_may_differ_by_what_rounding_can_do(job, monkeypatch):
    off_by(monkeypatch, Composed, 8)
    assert verify(job, 2, status=1)["outcome"] == "different"
    change(job, "update rounds set build = 'numpy 1; openblas 0 Cray'")
    assert verify(job, 2)["outcome"] == "within_bound"
    assert "as closely as another build can make it" in job.command("verify", "line", "2")
    off_by(monkeypatch, Composed, 100)
    found = verify(job, 2, status=1)
    assert found["outcome"] == "different"
    assert re.fullmatch(r"1 of \d+ weights differ by more than \d+ last places of float32", found["problems"][0])


def test_how_far_another_build_may_come_is_not_known_for_every_rule(job, monkeypatch):
    off_by(monkeypatch, MomentsStrategy, 1)
    change(job, "update rounds set build = 'numpy 1; openblas 0 Cray'")
    found = verify(job, 2, status=1)
    assert found["outcome"] == "undecided"
    assert "verify with numpy 1; openblas 0 Cray" in found["problems"][0]


@pytest.mark.parametrize("job", ["fedavg"], indirect=True)
def test_another_build_does_not_excuse_a_model_that_is_not_known(job):
    change(job, "update rounds set build = 'numpy 1; openblas 0 Cray'")
    change(job, "delete from models where version = 2")
    assert verify(job, 2, status=1)["outcome"] == "different"


def test_another_build_needs_the_model_itself(job):
    change(job, "update rounds set build = ''")
    path = job.parts.archive.registry.path(2)
    data = path.read_bytes()
    path.unlink()
    assert verify(job, 2)["outcome"] == "identical"  # its hash is enough
    change(job, "update models set hash = zeroblob(32) where version = 2")
    path.write_bytes(data)
    assert "retention.models" in verify(job, 2, status=1)["problems"][0]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("update updates set spool_offset = null where rowid_is = 1", "has a receipt, but is not in the spool"),
        ("update updates set verdict = 'declined' where rowid_is = 1", "is in the spool without a receipt"),
        ("update updates set samples = 7 where rowid_is = 1", "samples, not 7"),
        ("update models set devices = 3 where version = 2", "the model counts 3 devices"),
    ],
)
def test_receipts_spool_and_model_must_agree(job, statement, says):
    version = past_rounds.done_round(
        job.parts.archive.store, past_rounds.find_run(job.parts.archive.store, "line"), 2
    ).opened.manifest_version
    device = history.entries(job.parts.archive.store, version)[0].device.hex()
    change(job, statement.replace("rowid_is = 1", f"manifest_version = {version} and device = x'{device}'"))
    assert any(says in each for each in verify(job, 2, status=1)["problems"])


def test_what_is_gone_is_named_with_the_key_that_would_have_kept_it(job, capsys):
    store, registry = job.parts.archive.store, job.parts.archive.registry
    run = past_rounds.find_run(store, "line")
    past = past_rounds.done_round(store, run, 3)
    state = job.state / "models" / "line" / f"{past.state_before.hex()}.state"
    for path, key in (
        (state, "retention.rounds"),
        (registry.path(past.opened.model_version), "retention.models"),
        (segment(job, 3), "retention.rounds"),
    ):
        path.rename(path.with_name("away"))
        status, said = fail(job, capsys, "verify", "line", "3")
        assert status == 1
        assert str(path) in said
        assert key in said
        path.with_name("away").rename(path)


def test_a_round_of_which_a_line_is_left_cannot_be_verified(job, capsys):
    change(job, "update rounds set manifest = x'' where round = 1")
    status, said = fail(job, capsys, "verify", "line", "1")
    assert (status, "retention.rounds" in said) == (1, True)
    assert "round 1 (train), attempt 1: done" in job.command("show", "line", "1")


def test_a_damaged_record_is_named(job, capsys):
    path = segment(job, 2)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    status, said = fail(job, capsys, "verify", "line", "2")
    assert status == 1
    assert "is damaged; it cannot be verified any more; see what helps: fedloom aggregator check" in said


def test_unknown_jobs_and_rounds_are_mistakes_of_the_user(job, capsys):
    assert fail(job, capsys, "verify", "lime", "1") == (
        2,
        "fedloom: error: JOB: no job 'lime' has run here; there are: line\n",
    )
    assert "round 9 is not known; see: fedloom round list line" in fail(job, capsys, "show", "line", "9")[1]
    assert "round 9 is not known" in fail(job, capsys, "verify", "line", "9")[1]
    change(job, "update rounds set status = 'aborted' where round = 1")
    assert "round 1 is aborted: nothing of it was fused" in fail(job, capsys, "verify", "line", "1")[1]
