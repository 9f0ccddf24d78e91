"""A whole job under a hostile broker, and that the auditor of the invariants sees a breach where there is one."""

import math
import re
import sqlite3
import struct
from contextlib import closing
from hashlib import sha256

import pytest
from adversary.altering import Anything
from adversary.fleet import DEADLINE_S, DEVICES, Heard, HostileFleet, Listener
from adversary.invariants import GRACE_S, Auditor, check_times
from adversary.proxy import Script

from aggregator import row_checks
from aggregator.notices import Done, RoundClosed, RoundOpened
from fedloom.wire.messages import Phase

COUNT = 5


def test_a_job_is_done_although_the_broker_does_anything_until_its_last_round(tmp_path):
    """From the first message on, presence and statistics included; devices end by themselves, with the model."""
    with HostileFleet(tmp_path / "all", count=COUNT) as fleet:
        fleet.proxy.follow(Anything(0.1))
        auditor, listener = Auditor(fleet), Listener(fleet.notices(30))
        listener.wait_for(lambda heard: any(_is_closed(each, COUNT - 1) for each in heard), 0, "all rounds but one")
        assert fleet.proxy.acted
        fleet.proxy.follow(Script())
        fleet.proxy.hang_up(*DEVICES)
        heard = listener.join()
        fleet.wait()
        auditor.check(heard)
        assert isinstance(heard[-1].notice, Done)
        models = {(fleet.state_of(device) / "model.fedloom").read_bytes() for device in DEVICES}
        assert len(models) == 1
        check_that_breaches_are_seen(fleet)


def check_that_breaches_are_seen(fleet):
    """Each of these would be a breach of the invariant that the auditor then names."""
    device = DEVICES[0]
    log, own = fleet.log(device), fleet.proxy.published[device]
    fleet.proxy.published[device] = set()
    expect_breach(fleet, "I1")
    fleet.proxy.published[device] = own

    text = log.read_text()
    with log.open("a") as file:
        file.write("update.sent digest=00000000\nreceipt.came verdict=accepted reason=''\n")
    expect_breach(fleet, "I2")
    log.write_text(text * 2)
    expect_breach(fleet, "I4")
    log.write_text(re.sub(r"(manifest\.accepted version=\d+ run=)\w+", rf"\g<1>{bytes(16).hex()}", text))
    expect_breach(fleet, "I4")
    log.write_text(text + next(fleet.directory.rglob("device-01/keys/*.key")).read_bytes().hex() + "\n")
    expect_breach(fleet, "I6")
    log.write_text(text)
    for model in sorted((fleet.state / "models").rglob("v*.fedloom"))[1:2]:
        genuine, other = model.read_bytes(), model.with_name("v0000.fedloom").read_bytes()
        model.write_bytes(other)
        expect_breach(fleet, "I1")
        model.write_bytes(without_number(genuine))
        expect_breach(fleet, "I9: .*finite")
        model.write_bytes(genuine)
    check_that_changed_books_are_seen(fleet)


def check_that_changed_books_are_seen(fleet):
    """I3: what an auditor has seen committed, it misses."""
    database = fleet.state / "aggregator.db"
    genuine = database.read_bytes()
    for change in (
        "delete from updates; delete from rounds where manifest_version = 1",
        "update rounds set manifest_hash = zeroblob(32) where manifest_version = 1",
        "update rounds set status = 'aborted' where status = 'done'",
        "update models set hash = zeroblob(32) where version = 1",
        "delete from models where version = 1",
    ):
        auditor = Auditor(fleet)
        auditor.check([])
        with closing(sqlite3.connect(database)) as connection:
            row_checks.register(connection)
            connection.executescript(f"pragma foreign_keys = off; {change}; pragma wal_checkpoint(truncate)")
        with pytest.raises(AssertionError, match=r"^I3"):
            auditor.check([])
        database.write_bytes(genuine)


def without_number(model):
    """The file of a model whose last figure is none."""
    head = model[:-36] + struct.pack("<f", math.nan)
    return head + sha256(head).digest()


def expect_breach(fleet, name):
    with pytest.raises(AssertionError, match=f"^{name}"):
        Auditor(fleet).check([])


def test_rounds_that_take_too_long_are_seen():
    opened = RoundOpened(1, 1, Phase.TRAIN, 4, 4)
    closed = RoundClosed(1, 1, Phase.TRAIN, "done", "", 4, 0, 0, 0.0, {}, None, 0, 0)
    check_times([Heard(opened, 0.0), Heard(closed, DEADLINE_S)])
    with pytest.raises(AssertionError, match="I5"):
        check_times([Heard(opened, 0.0), Heard(closed, DEADLINE_S + GRACE_S + 1)])
    with pytest.raises(AssertionError, match="I5"):
        check_times([Heard(closed, 0.0), Heard(opened, DEADLINE_S + GRACE_S + 1)])


def _is_closed(heard, number):
    return isinstance(heard.notice, RoundClosed) and heard.notice.round == number and heard.notice.outcome == "done"
