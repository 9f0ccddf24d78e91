"""What nothing needs goes, what something needs stays, beside a running aggregator too."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from aggregator import tables as t
from aggregator.config import Retention
from aggregator.database import faults
from aggregator.enrolment import tokens
from aggregator.store import open_store
from aggregator.upkeep.collect import collect
from aggregator.upkeep.files import KEPT_ASIDE_S, YOUNG_S
from aggregator.upkeep.rows import TOKEN_GRACE_S
from fedloom.command import main
from fedloom.trust.documents import DAY_S

FEW = Retention(models=1, rounds=1, history=2)


@pytest.fixture
def long(make_rig):
    """A run of twenty rounds, of which all is there."""
    rig = make_rig(count=30)
    rig.boot()
    rig.ready()
    rig.work()
    for _ in range(20):
        rig.answer_all()
    return rig


def run(rig, *, is_dry=False):
    with open_store(rig.state) as store:
        freed = collect(rig.state, store, FEW, FEW.rounds_kept(None), is_dry=is_dry)
        return {each.what: each.count for each in freed}


def put(path, age_s):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left")
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def files(rig):
    return {
        path.relative_to(rig.state).as_posix()
        for folder in ("spool", "models")
        for path in (rig.state / folder).rglob("*")
    }


def test_rows_and_segments_go_at_once_and_the_run_goes_on_beside_it(long):
    path = long.state / "aggregator.db"
    freed = run(long)
    assert freed["answers"] == freed["invitations"] == 3 * freed["manifests"]
    assert freed["segment"] == 19
    assert freed["free pages"] > 0
    assert run(long) == {}
    with long.parts.archive.store.engine.connect() as connection:
        assert list(faults(connection)) == []
        assert connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() == 0
    long.parts.archive.store.forget()
    assert path.stat().st_size > 0
    long.finish_job()


def test_a_dry_run_says_the_same_and_removes_nothing(long):
    before = files(long)
    would = run(long, is_dry=True)
    assert files(long) == before
    did = run(long)
    assert {what: count for what, count in did.items() if what != "free pages"} == would


def test_files_that_nothing_names_go_when_they_are_old_enough(long):
    models = long.state / "models" / "line"
    gone = [
        put(models / "v9999.fedloom", YOUNG_S + 60),
        put(models / ("ab" * 32 + ".state"), YOUNG_S + 60),
        put(models / ".v0001.fedloom.new", YOUNG_S + 60),
        put(long.state / ".last-backup.json.new", YOUNG_S + 60),
        put(models / "v0001.fedloom.damaged-1", KEPT_ASIDE_S + 60),
        put(long.state / "aggregator.db.schema-2", KEPT_ASIDE_S + 60),
        put(long.state / "spool" / ("ab" * 16) / "r0000001-a0001.spool", 0),
    ]
    kept = [
        put(models / "v9998.fedloom", 0),  # its round is being turned
        put(models / ".v0002.fedloom.new", 0),
        put(models / "v0001.fedloom.damaged-2", KEPT_ASIDE_S - 60),
        put(long.state / "notes.txt", KEPT_ASIDE_S + 60),
    ]
    run(long)
    assert [path for path in gone if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    long.finish_job()


def test_tokens_and_certificates_that_have_expired_go_but_never_the_newest(long):
    now_s = int(time.time())
    with open_store(long.state) as store:
        tokens.make(store, ["old", "young"], now_s - TOKEN_GRACE_S - DAY_S, {}, needs_approval=False)
        with store.exclusively() as connection:
            connection.execute(t.tokens.update().where(t.tokens.c.name == "young").values(expires_at=now_s - DAY_S))
            one = connection.execute(t.certificates.select()).first()
            row = {"serial": "beef", "device": one.device, "certificate": b"", "not_after": now_s - DAY_S}
            connection.execute(t.certificates.insert().values(row))
            others = t.certificates.c.device != one.device
            connection.execute(t.certificates.update().where(others).values(not_after=now_s - DAY_S))
    freed = run(long)
    assert (freed["tokens"], freed["certificates"]) == (1, 1)
    with open_store(long.state) as store:
        assert [entry.name for entry in tokens.entries(store, now_s)] == ["young"]


KILLED = """
import os, signal, sys
from pathlib import Path
from aggregator.config import Retention
from aggregator.store import open_store
from aggregator.upkeep import collect as module, files

state, last, calls = Path(sys.argv[1]), int(sys.argv[2]), 0
retention = Retention(models=1, rounds=1, history=2)

def counted(function):
    def call(*arguments):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

files.delete = counted(files.delete)
with open_store(state) as store:
    store.prune = counted(store.prune)
    list(module.collect(state, store, retention, 5, is_dry=False))
"""


@pytest.mark.parametrize("last", [2, 5, 15])
def test_killed_in_between_it_is_gone_on_with(long, last):
    ended = subprocess.run([sys.executable, "-c", KILLED, str(long.state), str(last)], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    run(long)
    assert run(long) == {}
    long.crash()
    long.boot()
    long.ready()
    long.finish_job()


def test_the_command(long, capsys, monkeypatch):
    (long.directory / "aggregator.toml").write_text(
        'job = "job.toml"\n[broker]\nhost = "localhost"\n[retention]\nrounds = 1\nhistory = 2\n'
    )
    monkeypatch.chdir(long.directory)

    def said(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["aggregator", "gc", *arguments])
        assert not end.value.code
        return capsys.readouterr().out

    assert "segment: 19, " in said("--dry-run")
    assert {each["what"] for each in json.loads(said("--json"))} >= {"answers", "segment", "free pages"}
    assert said() == "there is nothing to remove\n"
