"""Devices come with tokens: who gets in, who does not, and what is said to whom."""

import os
from hashlib import sha256

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from sqlalchemy import update

from aggregator import events as ev
from aggregator import tables as t
from aggregator.enrolment import tokens
from aggregator.notices import DeviceJoined, JoinAlarm, JoinPending, JoinRefused
from aggregator.store import open_store
from fedloom.trust.certificates import new_request
from fedloom.trust.device_keys import DeviceSecrets
from fedloom.trust.documents import RENEWAL_GRACE_S
from fedloom.trust.seal import SealSuite
from fedloom.wire.envelope import Type
from fedloom.wire.messages import MAX_ENROL_BYTES, Admission


def test_a_device_joins_and_takes_part(any_desk):
    desk = any_desk
    joiner = desk.joined()
    answer = joiner.answers[0]
    assert (answer.verdict, answer.reason) == (Admission.ACCEPTED, "")
    assert (answer.broker.host, answer.broker.port) == ("localhost", 1883)
    assert joiner.credential.not_before == int(desk.rig.utc_s)
    assert joiner.credential.not_after == int(desk.rig.utc_s) + 30 * 86_400
    certificate = x509.load_der_x509_certificate(answer.certificate)
    assert certificate.not_valid_after_utc.timestamp() == joiner.credential.not_after + RENEWAL_GRACE_S
    assert desk.told(DeviceJoined) == [DeviceJoined("gate", joiner.id.hex(), joiner.token.id.hex())]
    desk.say_ready(joiner)
    assert desk.rig.parts.fleet.ready == {joiner.id}


def test_nobody_else_is_asked_for_his_presence_when_a_device_joins(desk):
    actions = []
    perform = desk.rig.perform
    desk.rig.perform = lambda action: (actions.append(action), perform(action))
    desk.joined()
    assert not any(isinstance(action, ev.Resubscribe) for action in actions)


def test_the_same_keys_get_the_same_answer_for_ever(desk):
    joiner = desk.joined()
    desk.send(joiner)
    desk.send(joiner, joiner.ask())
    desk.rig.crash()
    desk.rig.boot()
    desk.rig.utc_s += 30 * 86_400  # the token has expired meanwhile
    desk.send(joiner, joiner.ask())
    assert [msgspec.structs.astuple(each)[1:] for each in joiner.answers] == [
        msgspec.structs.astuple(joiner.answers[0])[1:]
    ] * 4
    assert len(desk.devices()) == 2
    assert len(desk.told(DeviceJoined)) == 1


@pytest.mark.parametrize("part", ["signing", "seal", "tls"])
def test_another_key_is_refused_and_alarmed(desk, part):
    joiner = desk.joined()
    other = DeviceSecrets.generate(SealSuite.X25519)
    thief = desk.joiner(joiner.token)
    thief.secrets = joiner.secrets._replace(**{part: getattr(other, part)})
    desk.send(thief, thief.ask())
    assert [(each.verdict, each.reason) for each in thief.answers] == [(Admission.REFUSED, "conflict")]
    assert thief.answers[0].credential == thief.answers[0].certificate == b""
    assert desk.told(JoinAlarm) == [JoinAlarm("gate", joiner.token.id.hex(), "token")]
    assert len(desk.devices()) == 2


@pytest.mark.parametrize("promised", ["", "hall-3"])
def test_a_tls_key_of_a_device_that_comes_with_other_keys_is_refused_and_alarmed(desk, promised):
    joined = desk.joined()
    thief = desk.joiner(desk.tokens([promised])[0])
    thief.secrets = thief.secrets._replace(tls=joined.secrets.tls)
    desk.send(thief, thief.ask())
    assert [(each.verdict, each.reason) for each in thief.answers] == [(Admission.REFUSED, "conflict")]
    assert desk.told(JoinAlarm) == [JoinAlarm("gate", thief.token.id.hex(), "tls_key")]
    assert desk.states() == ["joined", "unused"]


def test_a_wrong_secret_tells_no_more_than_an_unknown_token(desk):
    joiner = desk.joiner()
    desk.send(joiner, joiner.ask(joiner.enrol(secret=bytes(32))))
    stranger = desk.joiner(joiner.token._replace(id=bytes(16)))
    desk.send(stranger)
    expected = [(Admission.REFUSED, "unknown_token")]
    assert [(each.verdict, each.reason) for each in joiner.answers] == expected
    assert [(each.verdict, each.reason) for each in stranger.answers] == expected
    assert desk.states() == ["unused"]


def test_an_expired_token_lets_nobody_in(desk):
    joiner = desk.joiner(expires_in_s=60.0)
    desk.rig.utc_s += 61.0
    desk.send(joiner)
    assert joiner.answers[0].reason == "expired"
    assert desk.states() == ["expired"]
    assert len(desk.devices()) == 1


def test_a_revoked_token_lets_nobody_in(desk):
    joiner = desk.joiner()
    with open_store(desk.rig.state) as store:
        tokens.revoke(store, joiner.token.id.hex())
    desk.send(joiner)
    assert joiner.answers[0].reason == "revoked"
    assert desk.told(JoinRefused) == [JoinRefused(joiner.token.id.hex(), "", "revoked")]


def test_a_device_that_is_revoked_stays_out_also_with_another_token(desk):
    joiner = desk.joined()
    desk.say_ready(joiner)
    with open_store(desk.rig.state) as store:
        store.revoke_device("gate")
    desk.notice()
    assert desk.rig.parts.fleet.ready == set()
    again = desk.joiner(desk.tokens([""])[0])
    again.secrets = joiner.secrets
    desk.send(joiner, joiner.ask())
    desk.send(again, again.ask())
    assert (joiner.answers[-1].verdict, joiner.answers[-1].reason) == (Admission.REFUSED, "revoked")
    assert [(each.verdict, each.reason) for each in again.answers] == [(Admission.REFUSED, "revoked")]
    desk.say_ready(joiner)
    assert desk.rig.parts.fleet.ready == set()


def test_a_device_whose_credential_in_the_database_is_damaged_is_refused_and_ends_nothing(desk):
    joiner = desk.joined()
    with desk.rig.parts.archive.store.exclusively() as connection:
        connection.execute(update(t.devices).where(t.devices.c.id == joiner.id).values(credential=b"damaged"))
    again = desk.joiner(desk.tokens([""])[0])
    again.secrets = joiner.secrets
    desk.send(again, again.ask())
    assert [(each.verdict, each.reason) for each in again.answers] == [(Admission.REFUSED, "bad_credential")]
    assert desk.joined(name="other").credential


def test_a_device_that_joins_again_with_its_keys_stays_who_it_is(desk):
    joiner = desk.joined()
    desk.rig.utc_s += 200 * 86_400  # too late for a renewal
    again = desk.joiner(desk.tokens([""])[0])
    again.secrets = joiner.secrets
    desk.send(again, again.ask())
    assert again.id == joiner.id
    assert again.credential.name == "gate"
    assert again.credential.not_after == int(desk.rig.utc_s) + 30 * 86_400
    assert len(desk.devices()) == 2


def test_approval_comes_before_a_device_is_let_in(desk):
    joiner = desk.joiner(approve=True, name="hall 3")
    desk.send(joiner)
    desk.send(joiner, joiner.ask())
    assert [each.verdict for each in joiner.answers] == [Admission.PENDING] * 2
    assert desk.told(JoinPending)[0] == JoinPending("hall-3", joiner.token.id.hex())
    assert desk.states() == ["pending"]
    assert len(desk.devices()) == 1
    with open_store(desk.rig.state) as store:
        assert tokens.decide_pending(store, "hall-3", is_approved=True) == "hall-3"
    desk.rig.utc_s += 7200.0  # past the token's end: it was bound in time
    desk.send(joiner, joiner.ask())
    assert joiner.answers[-1].verdict is Admission.ACCEPTED
    assert joiner.credential.name == "hall-3"
    assert desk.states() == ["joined"]


def test_keys_are_bound_while_a_device_waits(desk):
    joiner = desk.joiner(approve=True)
    desk.send(joiner)
    thief = desk.joiner(joiner.token)
    desk.send(thief)
    assert thief.answers[0].reason == "conflict"
    with open_store(desk.rig.state) as store:
        tokens.decide_pending(store, joiner.token.id.hex(), is_approved=True)
    desk.send(thief, thief.ask())
    assert thief.answers[-1].reason == "conflict"


def test_a_device_that_is_rejected_is_told(desk):
    joiner = desk.joiner(approve=True)
    desk.send(joiner)
    with open_store(desk.rig.state) as store:
        tokens.decide_pending(store, "gate", is_approved=False)
    desk.send(joiner, joiner.ask())
    assert (joiner.answers[-1].verdict, joiner.answers[-1].reason) == (Admission.REFUSED, "rejected")


def test_names_do_not_collide(desk):
    first, second = desk.joined(name="gate"), desk.joined(name="gate")
    promised = desk.tokens(["hall"])[0]
    third = desk.joined(name="hall")
    desk.rig.add_device(7)  # by hand: device-7
    nameless, hostile = desk.joined(name=""), desk.joined(name="\x1b[2J../../etc")
    fourth = desk.joined(token=promised, name="ignored")
    names = [each.credential.name for each in (first, second, third, nameless, hostile, fourth)]
    assert names == ["gate", "gate-2", "hall-2", "device", "2J..-..-etc", "hall"]


def test_a_name_that_was_given_away_by_hand_does_not_stop_the_registrar(desk):
    joiner = desk.joiner(desk.tokens(["device-9"], approve=True)[0])
    desk.send(joiner)
    desk.rig.add_device(9)
    with open_store(desk.rig.state) as store:
        tokens.decide_pending(store, "device-9", is_approved=True)
    desk.send(joiner, joiner.ask())
    assert joiner.credential.name == "device-9-2"


def _signed_request(key):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def _tampered(request):
    return request[:-1] + bytes([request[-1] ^ 1])


BAD_BODIES = {
    "a seal key of low order": {"seal": bytes(32)},
    "another seal key of low order": {"seal": b"\x01" + bytes(31)},
    "a seal key of another suite": {"seal": bytes(1216)},
    "a seal key that is too long": {"seal": os.urandom(33)},
    "a request that is none": {"request": b"\x30\x03\x02\x01\x00"},
    "an empty request": {"request": b""},
    "a request of a P-384 key": {"request": _signed_request(ec.generate_private_key(ec.SECP384R1()))},
    "a request of an Ed25519 key": {"request": _signed_request(ed25519.Ed25519PrivateKey.generate())},
    "a request whose signature is wrong": {"request": _tampered(new_request(DeviceSecrets.generate(SealSuite(1)).tls))},
    "a signing key that signed nothing": {
        "signing": ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    },
    "a signing key that is none": {"signing": b"\xff" * 32},
}


@pytest.mark.parametrize("what", BAD_BODIES)
def test_bad_keys_get_no_answer_and_leave_the_token_unused(desk, what):
    joiner = desk.joiner()
    desk.send(joiner, joiner.ask(joiner.enrol(**BAD_BODIES[what])))
    assert joiner.answers == []
    assert desk.states() == ["unused"]
    assert len(desk.told(JoinRefused)) == 1
    desk.send(joiner, joiner.ask())
    assert joiner.answers[0].verdict is Admission.ACCEPTED


def test_hybrid_keys_that_nothing_can_be_sealed_to_are_refused(make_rig, any_desk):
    if any_desk.root.suite is not SealSuite.HYBRID:
        return
    joiner = any_desk.joiner()
    good = joiner.secrets.seal.public
    for bad in (good[:1184] + bytes(32), b"\xff" * 1184 + good[1184:], good[:-1]):
        any_desk.send(joiner, joiner.ask(joiner.enrol(seal=bad)))
    assert joiner.answers == []
    assert any_desk.states() == ["unused"]


BAD_HEADERS = {
    "of another type": ({"type": Type.UPDATE}, "unknown_type"),
    "of another federation": ({"federation": bytes(16)}, "wrong_federation"),
    "from another token": ({"sender": bytes(16)}, "wrong_topic"),
    "to somebody else": ({"recipient": bytes(16)}, "wrong_recipient"),
}


@pytest.mark.parametrize("what", BAD_HEADERS)
def test_a_message_that_is_not_for_the_registrar_costs_nothing(desk, what, monkeypatch):
    monkeypatch.setattr("aggregator.enrolment.registrar.Registrar._open", lambda *_: pytest.fail("it was opened"))
    header, reason = BAD_HEADERS[what]
    joiner = desk.joiner()
    desk.send(joiner, joiner.ask(**header))
    assert joiner.answers == []
    assert [each.reason for each in desk.told(JoinRefused)] == [reason]


@pytest.mark.parametrize("blob", [b"", b"FLE", bytes(4000), b"x" * (MAX_ENROL_BYTES + 4096)])
def test_garbage_is_acknowledged_and_dropped(desk, blob):
    joiner = desk.joiner()
    before = len(desk.rig.acknowledged)
    desk.send(joiner, blob)
    assert len(desk.rig.acknowledged) == before + 1
    assert not desk.rig.orders
    assert joiner.answers == []


def test_every_flipped_byte_is_refused(desk):
    joiner = desk.joiner()
    good = joiner.request
    for place in range(0, len(good), 7):
        bad = bytearray(good)
        bad[place] ^= 1
        desk.rig.now_s += 10.0
        desk.send(joiner, bytes(bad))
    assert joiner.answers == []
    assert desk.states() == ["unused"]


def test_a_request_that_is_repeated_while_it_waits_is_decided_once(desk):
    joiner = desk.joiner()
    for _ in range(3):
        desk.rig.receive(joiner.up, joiner.request)
    assert len(desk.rig.orders) == 1
    desk.settle()
    assert len(joiner.answers) == 1


def test_an_answer_names_its_request(desk):
    joiner = desk.joiner()
    desk.send(joiner)
    assert joiner.answers[0].answers == sha256(joiner.request).digest()


def test_no_secret_is_in_the_database(desk):
    joiner = desk.joined()
    desk.rig.crash()
    stored = b"".join(path.read_bytes() for path in desk.rig.state.glob("aggregator.db*"))
    assert joiner.token.id in stored
    assert joiner.token.secret not in stored
    assert joiner.token.secret.hex().encode() not in stored


def test_a_process_that_dies_between_commit_and_answer_gives_the_same_answer(desk):
    joiner = desk.joiner()
    desk.rig.receive(joiner.up, joiner.request)
    order = desk.rig.orders.popleft()
    lost = desk.rig.parts.archive.decide([order]).decisions[0]  # committed, and nobody hears of it
    desk.rig.crash()
    desk.rig.boot()
    desk.send(joiner)
    assert joiner.answers[0].credential == lost.grant.device.credential
    assert joiner.answers[0].certificate == lost.grant.certificate
    assert len(desk.devices()) == 2


def test_two_requests_with_one_token_in_one_transaction(desk):
    token = desk.tokens([""])[0]
    first, second = desk.joiner(token), desk.joiner(token)
    for joiner in (first, second):
        desk.rig.receive(joiner.up, joiner.request)
    orders = [desk.rig.orders.popleft() for _ in range(2)]
    desk.rig.handle(desk.rig.parts.archive.decide(orders))
    desk.settle()
    verdicts = [each.verdict for each in (*first.answers, *second.answers)]
    assert verdicts == [Admission.ACCEPTED, Admission.REFUSED]
    assert len(desk.devices()) == 2
