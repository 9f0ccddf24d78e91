"""A device whose credential in the database is damaged stands aside alone; `check` finds it.

Its row has a right checksum: so wrote a program, or a person, and no disk has flipped it.
"""

import pytest
from sqlalchemy import update

from aggregator import events as ev
from aggregator import tables as t
from aggregator.notices import RoundClosed
from aggregator.store import Store
from aggregator.upkeep.check import check
from fedloom.errors import TrustError
from fedloom.health.findings import Level

REMEDY = "fedloom device revoke device-2, fedloom token new"


def spoil(rig, *names):
    with Store(rig.state / "aggregator.db") as store, store.exclusively() as connection:
        connection.execute(update(t.devices).where(t.devices.c.name.in_(names)).values(credential=b"damaged"))


@pytest.mark.parametrize("is_restarted", [False, True])
def test_the_others_go_on_without_it_and_it_is_told_once(rig, is_restarted):
    if is_restarted:
        rig.crash()
    spoil(rig, "device-2")
    if is_restarted:
        rig.boot()
    else:
        rig.handle(rig.parts.archive.changed_fleet())
    for _ in range(2):
        rig.ready()
    for device in rig.devices:
        rig.send(device, device.update())
    rig.now_s += 61.0
    rig.handle(ev.Tick())
    rig.work()
    (closed,) = rig.told(RoundClosed)
    assert (closed.outcome, closed.accepted) == ("aborted", 2)  # the job asks for three
    (told,) = [each for each in rig.warnings if "credential" in each]
    assert "'device-2'" in told
    assert REMEDY in told


def test_check_names_each(rig):
    spoil(rig, "device-2")
    (found,) = [each for each in check(rig.state) if each.level is not Level.OK]
    assert (found.check, found.level) == ("credentials", Level.FAIL)
    assert "aggregator.db: table devices, 'device-2'" in found.seen
    assert REMEDY in found.do


def test_one_of_the_first_device_alone_is_no_reason_not_to_start_but_all_are(rig):
    rig.crash()
    spoil(rig, "device-0")
    rig.boot()
    rig.crash()
    spoil(rig, "device-0", "device-1", "device-2")
    with pytest.raises(TrustError, match="do not belong together"):
        rig.boot()
