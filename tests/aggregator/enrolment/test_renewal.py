"""Credentials are renewed in time, unasked; who slept too long or was revoked gets nothing."""

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from aggregator import events as ev
from aggregator.enrolment.issuing import due_at_s
from aggregator.enrolment.renewal import SWEEP_S
from aggregator.notices import DeviceRenewed
from aggregator.store import open_store
from fedloom.trust.documents import RENEWAL_GRACE_S, Credential
from fedloom.wire.messages import Admission

DAY_S = 86_400


def renewals(desk):
    return [order for order in desk.rig.orders if isinstance(order, ev.Renew)]


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**33), st.integers(1, 3650))
def test_a_credential_is_due_between_two_thirds_and_five_sixths_of_its_life(device, begin, days):
    credential = Credential(bytes(16), device, "x", bytes(32), bytes(32), begin, begin + days * DAY_S)
    share = (due_at_s(credential) - begin) / (days * DAY_S)
    assert 2 / 3 - 1e-6 <= share <= 5 / 6 + 1e-6


def test_a_fleet_that_joined_on_one_day_is_spread():
    begin, end = 0, 30 * DAY_S
    times = [
        due_at_s(Credential(bytes(16), number.to_bytes(16, "big"), "x", bytes(32), bytes(32), begin, end))
        for number in range(1000)
    ]
    in_days = [sum(20 + day <= each / DAY_S < 21 + day for each in times) for day in range(5)]
    assert all(120 < count < 280 for count in in_days)


def test_a_device_whose_credential_is_young_is_left_alone(desk):
    joiner = desk.joined()
    desk.rig.utc_s += 19 * DAY_S
    desk.say_ready(joiner)
    assert len(joiner.answers) == 1


def test_a_credential_is_renewed_at_the_next_presence_for_the_same_keys(any_desk):
    desk = any_desk
    joiner = desk.joined()
    before = joiner.credential
    desk.rig.utc_s += 26 * DAY_S
    desk.say_ready(joiner)
    answer, credential = joiner.answers[1], joiner.credential
    assert answer.verdict is Admission.ACCEPTED
    assert answer.broker.port == 1883
    assert (credential.device, credential.name, credential.signing, credential.seal) == (
        (before.device, before.name, before.signing, before.seal)
    )
    assert (credential.not_before, credential.not_after) == (
        int(desk.rig.utc_s),
        int(desk.rig.utc_s) + 30 * DAY_S,
    )
    certificates = [x509.load_der_x509_certificate(each.certificate) for each in joiner.answers]
    assert certificates[0].public_key() == certificates[1].public_key()
    assert certificates[1].not_valid_after_utc.timestamp() == credential.not_after + RENEWAL_GRACE_S
    assert desk.told(DeviceRenewed) == [DeviceRenewed("gate", joiner.id.hex(), credential.not_after)]
    desk.say_ready(joiner)
    assert len(joiner.answers) == 2
    assert desk.rig.parts.fleet.get(joiner.id).credential == credential


def test_a_renewal_that_was_lost_is_sent_again_and_not_made_again(desk):
    joiner = desk.joined()
    held = joiner.credential.not_after
    desk.rig.utc_s += 26 * DAY_S
    desk.say_ready(joiner, held)
    desk.say_ready(joiner, held)
    assert joiner.answers[1] == joiner.answers[2]
    assert len(desk.told(DeviceRenewed)) == 1


def test_a_presence_is_acted_on_once_whoever_repeats_it(desk):
    joiner = desk.joined()
    desk.rig.utc_s += 26 * DAY_S
    presence = joiner.presence()
    for blob in (presence, presence, b"garbage"):
        desk.rig.receive(joiner.topics.state(joiner.id), blob)
    assert len(renewals(desk)) == 1


def test_a_renewal_survives_a_crash_before_it_is_sent(desk):
    joiner = desk.joined()
    held = joiner.credential.not_after
    desk.rig.utc_s += 26 * DAY_S
    desk.rig.receive(joiner.topics.state(joiner.id), joiner.presence())
    made = desk.rig.parts.archive.renew(renewals(desk)).grants[0]
    desk.rig.crash()
    desk.rig.boot()
    desk.say_ready(joiner, held)
    assert joiner.answers[-1].credential == made.device.credential
    assert joiner.answers[-1].certificate == made.certificate


def test_a_device_that_slept_is_renewed_and_only_then_takes_part(desk):
    joiner = desk.joined()
    desk.rig.utc_s += 30 * DAY_S + RENEWAL_GRACE_S - 1
    desk.say_ready(joiner)
    assert desk.rig.parts.fleet.ready == set()
    assert joiner.credential.not_after > desk.rig.utc_s
    desk.say_ready(joiner)
    assert desk.rig.parts.fleet.ready == {joiner.id}


def test_a_device_that_slept_too_long_gets_nothing_and_the_operator_hears_of_it_once(desk):
    joiner = desk.joined()
    desk.rig.utc_s += 30 * DAY_S + RENEWAL_GRACE_S + 1
    desk.say_ready(joiner)
    desk.say_ready(joiner)
    assert len(joiner.answers) == 1
    assert desk.rig.parts.fleet.ready == set()
    assert len(desk.rig.warnings) == 1
    assert "'gate'" in desk.rig.warnings[0]
    assert "fedloom token new" in desk.rig.warnings[0]


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_revoked_device_is_never_renewed(desk, is_noticed):
    joiner = desk.joined()
    desk.rig.utc_s += 26 * DAY_S
    with open_store(desk.rig.state) as store:
        store.revoke_device("gate")
    if is_noticed:
        desk.notice()
    desk.say_ready(joiner)
    assert len(joiner.answers) == 1


def test_a_device_that_stays_connected_is_renewed_by_a_sweep(desk):
    joiner, gone = desk.joined(), desk.joined(name="gone")
    desk.say_ready(joiner)
    desk.say_ready(gone)
    desk.rig.receive(gone.topics.state(gone.id), gone.presence(state="disconnected"))
    desk.rig.handle(ev.Tick())
    desk.rig.utc_s += 26 * DAY_S
    desk.rig.now_s += 26 * DAY_S
    desk.rig.handle(ev.Tick())
    desk.settle()
    assert (len(joiner.answers), len(gone.answers)) == (2, 1)


def test_a_clock_that_was_wrong_for_a_while_puts_nobody_out(desk):
    joiner, years_s, fleet = desk.joined(), 5 * 365 * DAY_S, desk.rig.parts.fleet
    for jump_s, ready in ((years_s, set()), (-years_s, {joiner.id})):
        desk.say_ready(joiner)
        desk.rig.utc_s += jump_s
        desk.rig.now_s += SWEEP_S
        desk.rig.handle(ev.Tick())
        desk.settle()
        assert fleet.ready == ready
    assert len(joiner.answers) == 1


def test_who_is_revoked_or_gone_is_not_made_ready_by_a_sweep(desk):
    joiner, gone = desk.joined(), desk.joined(name="gone")
    desk.say_ready(joiner)
    desk.rig.receive(gone.topics.state(gone.id), gone.presence(state="disconnected"))
    with open_store(desk.rig.state) as store:
        store.revoke_device("gate")
    desk.notice()
    desk.rig.now_s += SWEEP_S
    desk.rig.handle(ev.Tick())
    assert desk.rig.parts.fleet.ready == set()


def test_sweeps_are_asked_for_without_end(desk):
    times = []
    core = desk.rig.parts.core
    now = ev.Now(desk.rig.now_s, desk.rig.utc_s)
    for _ in range(3):
        wakes = [each.at_s for each in core.handle(ev.Tick(), now) if isinstance(each, ev.WakeAt)]
        assert wakes == [now.monotonic_s + SWEEP_S]
        times += wakes
        assert not any(isinstance(each, ev.WakeAt) for each in core.handle(ev.Tick(), now))
        now = ev.Now(wakes[0], now.utc_s)


def test_expired_certificates_of_a_device_are_forgotten_at_its_renewal(desk):
    joiner = desk.joined()
    for _ in range(6):
        desk.rig.utc_s += 26 * DAY_S
        desk.say_ready(joiner)
    assert len(joiner.answers) == 7
    with desk.rig.parts.archive.store.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT not_after FROM certificates WHERE device = ?", (joiner.id,)).all()
    assert 2 <= len(kept) <= 4
    assert all(row[0] >= desk.rig.utc_s for row in kept)


def test_the_audience_of_a_renewal_is_one_device(desk):
    joiner, other = desk.joined(), desk.joined(name="other")
    desk.rig.utc_s += 26 * DAY_S
    desk.say_ready(joiner)
    assert (len(joiner.answers), len(other.answers)) == (2, 1)
