"""Clocks ten years off: a device trains all the same, an aggregator does nothing that it would have to take back."""

from pathlib import Path

import pytest
from process_fleet import AGGREGATOR, DEVICES, Fleet, Model

from aggregator.notices import Ready

# Not the command faketime: it stays between us and the process, which then outlives a SIGKILL.
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    pytest.mark.skipif(LIBRARY is None, reason="faketime is not installed (Debian: apt install faketime)"),
]
TEN_YEARS = ("+3650d", "-3650d")


def faketime(offset: str) -> list[str]:
    return ["env", f"LD_PRELOAD={LIBRARY}", "DONT_FAKE_MONOTONIC=1", f"FAKETIME={offset}"]


@pytest.mark.parametrize("offset", TEN_YEARS)
def test_a_device_ten_years_off_trains_all_the_same(offset: str, fleet: Fleet, undisturbed: list[Model]) -> None:
    fleet.start(names=[AGGREGATOR, *DEVICES[1:]])
    fleet.start_one(DEVICES[0], command=faketime(offset))
    fleet.finish()
    assert fleet.deaths == []
    assert fleet.models() == undisturbed


def test_an_aggregator_ten_years_behind_runs_its_job(fleet: Fleet, undisturbed: list[Model]) -> None:
    fleet.start(names=DEVICES)
    fleet.start_one(AGGREGATOR, command=faketime("-3650d"))
    fleet.finish()
    assert fleet.deaths == []
    assert fleet.models() == undisturbed


def test_an_aggregator_ten_years_ahead_believes_no_credential_and_goes_on_when_the_clock_is_right(
    fleet: Fleet, undisturbed: list[Model]
) -> None:
    """By its clock they have all expired: it opens no round, and says that nobody is ready."""
    fleet.start(names=DEVICES)
    wrong = fleet.start_one(AGGREGATOR, command=faketime("+3650d"))
    fleet.until(lambda: all("link.up" in fleet.log(name) for name in DEVICES) and bool(fleet.notices()[1:]))
    wrong.end()
    assert {each.devices for each in fleet.notices() if isinstance(each, Ready)} == {0}
    assert fleet.rows("select * from rounds") == []
    fleet.finish()
    assert fleet.models() == undisturbed
