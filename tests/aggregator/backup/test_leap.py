"""After a restore, what another life of the state has published is lost, unless somebody goes on publishing it."""

from hashlib import sha256

import pytest
from stage import forged

from aggregator import keys
from aggregator.backup.leap import LEAST, Leap, leap, newest_leap
from aggregator.rival import QUIET_S, RivalError, RivalWatch
from aggregator.store import open_store
from fedloom.link.base import Connected, Limits, Received, Subscribed, Token

LEAPT = Leap(5, 2_000_000)


@pytest.fixture
def own(rig):
    return keys.load(rig.state)


@pytest.fixture
def manifest(rig):
    return rig.retained[rig.devices[0].topics.manifest]


@pytest.fixture
def watch(own):
    """Of a state that knows versions up to 5, restored; the connection stands."""
    watch = RivalWatch(own.root, lambda: (LEAPT.end, b"ours"), LEAPT)
    watch.handle(Connected(Limits()), 0.0)
    for each in watch.topics:
        watch.handle(Subscribed(each), 0.0)
    return watch


def came(watch, payload, now_s, retained=False):
    watch.handle(Received(watch.manifest_topic, payload, retained, Token(1, 1)), now_s)


def test_what_the_broker_retains_of_the_lost_rounds_is_no_rival(watch, own, manifest):
    came(watch, forged(manifest, own.signing, version=9), 0.1, retained=True)
    assert watch.is_clear(0.1)


def test_what_the_broker_had_queued_of_them_is_none(watch, own, manifest):
    for version in (6, 7, 8):
        came(watch, forged(manifest, own.signing, version=version), 0.1)
    came(watch, forged(manifest, own.signing, version=9), 0.1, retained=True)
    came(watch, forged(manifest, own.signing, version=8), 50.0)  # late
    assert watch.is_clear(50.0)


def test_who_goes_on_publishing_them_is_one(watch, own, manifest):
    came(watch, forged(manifest, own.signing, version=9), 0.1, retained=True)
    assert watch.is_clear(QUIET_S)
    with pytest.raises(RivalError, match="just published manifest version 10"):
        came(watch, forged(manifest, own.signing, version=10), 60.0)


def test_who_is_above_the_leap_is_one(watch, own, manifest):
    with pytest.raises(RivalError, match="devices have accepted manifest version 2000001"):
        came(watch, forged(manifest, own.signing, version=LEAPT.end + 1), 0.1, retained=True)


def test_what_came_before_the_backup_is_none(watch, own, manifest):
    assert watch.is_clear(QUIET_S)
    came(watch, forged(manifest, own.signing, version=5), 60.0)


def test_our_own_are_none(own, manifest):
    watch = RivalWatch(own.root, lambda: (LEAPT.end + 1, sha256(manifest).digest()), LEAPT)
    came(watch, manifest, 60.0)


def test_a_leap_goes_above_the_clock_and_above_the_one_before_even_if_that_stands_still(rig):
    assert rig.parts.archive.store.leap() is None
    rig.crash()
    with open_store(rig.state) as store:
        for now_s, expected in ((1.9e9, Leap(1, 1_900_000_000_000)), (0.0, None)):
            with store.exclusively() as connection:
                made = leap(connection, now_s)
                assert newest_leap(connection) == made
            assert made == (expected or Leap(1_900_000_000_000, 1_900_000_000_000 + LEAST))
