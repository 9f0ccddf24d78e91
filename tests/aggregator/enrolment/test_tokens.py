"""Tokens as the operator makes, lists and revokes them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.enrolment import tokens
from aggregator.enrolment.durations import read_duration
from aggregator.enrolment.naming import MAX_NAME, check_name, free_name
from aggregator.enrolment.roster import describe, roster
from aggregator.store import Store, open_store
from fedloom.errors import ConfigError, InputError


@pytest.fixture
def store(make_rig):
    rig = make_rig(devices=1)
    with open_store(rig.state) as store:
        yield store


def test_states_as_the_operator_sees_them(store):
    made = tokens.make(store, ["a", ""], 100, {"site": "north"}, needs_approval=False)
    shown = tokens.entries(store, 50.0)
    assert {(each.name, each.state) for each in shown} == {("a", "unused"), ("", "unused")}
    assert shown[0].labels == {"site": "north"}
    assert {each.state for each in tokens.entries(store, 101.0)} == {"expired"}
    tokens.revoke(store, made[0].id.hex())
    assert sorted(each.state for each in tokens.entries(store, 101.0)) == ["expired", "revoked"]


def test_a_name_is_promised_once(store):
    tokens.make(store, ["a"], 100, {}, needs_approval=False)
    for taken in ("a", "device-0"):
        with pytest.raises(ConfigError, match=f"'{taken}' is taken"):
            tokens.make(store, ["free", taken], 100, {}, needs_approval=False)
    assert len(tokens.entries(store, 0.0)) == 1  # nothing is half done


def test_a_used_token_is_not_revoked_but_its_device(desk):
    joiner = desk.joined()
    with open_store(desk.rig.state) as store, pytest.raises(ConfigError, match="fedloom device revoke gate"):
        tokens.revoke(store, joiner.token.id.hex())


def test_unknown_ones_are_named_with_what_may_have_been_meant(store):
    made = tokens.make(store, [""], 100, {}, needs_approval=False)[0].id.hex()
    with pytest.raises(ConfigError, match=f"did you mean {made}"):
        tokens.revoke(store, made[:-1])
    with pytest.raises(ConfigError, match="see who waits: fedloom device list"):
        tokens.decide_pending(store, "nobody", is_approved=True)
    with pytest.raises(ConfigError, match="did you mean 'device-0'"):
        store.revoke_device("device0")


def test_others_may_write_while_a_misspelt_name_is_looked_for(store, monkeypatch):
    """Among very many names that takes longer than the aggregator waits for its turn to write."""
    seen = []

    def look(name, known):
        with open_store(store.path.parent) as other:
            tokens.make(other, [""], 100, {}, needs_approval=False)
        seen.append(name)

    monkeypatch.setattr("aggregator.database.BUSY_TIMEOUT_S", 0.0)
    monkeypatch.setattr("aggregator.enrolment.tokens.closest", look)
    monkeypatch.setattr("aggregator.store.closest", look)
    for command in (tokens.revoke, lambda *them: tokens.decide_pending(*them, is_approved=True), Store.revoke_device):
        with pytest.raises(ConfigError):
            command(store, "nobody")
    assert len(seen) == 3


def test_the_representation_of_a_token_keeps_its_secret(store):
    made = tokens.make(store, [""], 100, {}, needs_approval=False)[0]
    assert made.secret.hex() not in repr(made)
    assert repr(made.secret) not in repr(made)


def test_the_roster_shows_who_waits_who_is_in_and_who_is_out(desk):
    desk.send(desk.joiner(approve=True, name="hall", labels={"site": "north"}))
    joiner = desk.joined(labels={"site": "south"})
    with open_store(desk.rig.state) as store:
        store.revoke_device("device-0")
        shown = {each.name: each for each in roster(store, desk.rig.utc_s)}
        later = {each.name: each.state for each in roster(store, desk.rig.utc_s + 31 * 86_400)}
    assert [(name, each.state) for name, each in shown.items()] == [
        ("hall", "pending"),
        ("device-0", "revoked"),
        ("gate", "joined"),
    ]
    assert later["gate"] == "expired"
    gate = shown["gate"]
    assert (gate.id, gate.labels, gate.token) == (joiner.id.hex(), {"site": "south"}, joiner.token.id.hex())
    assert (gate.joined_at, gate.credential_until) == (desk.rig.utc_s, joiner.credential.not_after)
    assert gate.certificate
    assert "says: fedloom test, x86_64, 2 CPUs, 512 MiB" in describe(shown["hall"])
    assert joiner.token.secret.hex() not in json.dumps([describe(each) for each in shown.values()])


def test_what_a_device_says_of_itself_cannot_move_the_cursor(desk):
    joiner = desk.joiner(approve=True)
    hostile = joiner.enrol().capabilities.__class__("\x1b[2J\n", "x", 1, 1)
    desk.send(joiner, joiner.ask(joiner.enrol(capabilities=hostile)))
    with open_store(desk.rig.state) as store:
        assert "says: ·[2J·" in describe(roster(store, desk.rig.utc_s)[0])


@given(st.text(max_size=100), st.sets(st.text(max_size=70), max_size=5))
def test_whatever_a_device_wishes_it_gets_a_name(wish, taken):
    name = free_name(wish, taken)
    check_name(name, "--name")
    assert len(name) <= MAX_NAME
    again = free_name(name, {*taken, name})
    assert again not in {*taken, name}
    check_name(again, "--name")


def test_no_name_can_be_mistaken_for_another_devices_id(desk):
    victim = desk.joiner(approve=True)
    desk.send(victim)
    hostile = desk.joiner(approve=True, name=victim.token.id.hex())
    desk.send(hostile)
    with open_store(desk.rig.state) as store:
        assert tokens.decide_pending(store, victim.token.id.hex(), is_approved=True) == "gate"
        with pytest.raises(ConfigError, match="looks like an id"):
            tokens.make(store, ["ab" * 16], 100, {}, needs_approval=False)


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)])
def test_durations(text, seconds):
    assert read_duration(text, "--expires") == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "0d", "1.5h", "7 d", "7D", "4000d", "999999w", "1y", "٣d"])
def test_what_is_no_duration(text):
    with pytest.raises(InputError, match="90m, 12h, 7d, 2w"):
        read_duration(text, "--expires")
