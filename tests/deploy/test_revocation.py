"""A revoked device keeps its key and a certificate that is valid for weeks. It reconnects, and must find all shut.

At three places: the aggregator refuses what it says, no later task is sealed to it (tests/aggregator and
tests/security), and the broker: by its revocation list and, each on its own, by its access list.
"""

import time
from typing import Any

import pytest
from mqtt_client import DELIVERED, NOT_AUTHORISED, Client, RefusedError

pytestmark = pytest.mark.broker


@pytest.fixture
def fleet(federation: Any) -> Any:
    """Running, with the devices a and b."""
    federation.a, federation.b = federation.device("a"), federation.device("b")
    federation.configure()
    federation.start()
    return federation


def connect(fleet: Any, who: Any) -> Client:
    return Client(fleet.port, fleet.context(who), getattr(who, "id", who))


def up(fleet: Any, who: Any) -> str:
    return str(fleet.topics.up(bytes.fromhex(who.id)))


def down(fleet: Any, who: Any) -> str:
    return str(fleet.topics.down(bytes.fromhex(who.id)))


def test_revoked_it_is_mute_and_deaf_at_once_and_does_not_get_in_again(fleet: Any) -> None:
    aggregator, a, b = connect(fleet, "aggregator"), connect(fleet, fleet.a), connect(fleet, fleet.b)
    a.subscribe(down(fleet, fleet.a))
    a.subscribe(fleet.topics.manifest)
    b.subscribe(fleet.topics.manifest)
    assert a.publish(up(fleet, fleet.a)) in DELIVERED

    fleet.revoke("a")
    fleet.configure()
    fleet.reload()

    assert a.publish(up(fleet, fleet.a)) == NOT_AUTHORISED  # connected all the time
    aggregator.publish(down(fleet, fleet.a), b"for a")
    aggregator.publish(fleet.topics.manifest, b"next")
    assert b.next_message() == (fleet.topics.manifest, b"next")  # the others notice nothing
    assert a.publish(up(fleet, fleet.a)) == NOT_AUTHORISED  # its answer comes after what a would have got
    assert a.messages.empty()
    a.close()
    with pytest.raises(RefusedError):
        connect(fleet, fleet.a)
    connect(fleet, fleet.b).close()
    b.close()
    aggregator.close()


def test_the_revocation_list_alone_shuts_it_out(fleet: Any) -> None:
    acl = (fleet.out / "broker" / "acl").read_text()
    fleet.revoke("a")
    fleet.configure()
    (fleet.out / "broker" / "acl").write_text(acl)
    fleet.reload()
    with pytest.raises(RefusedError):
        connect(fleet, fleet.a)
    connect(fleet, fleet.b).close()


def test_the_access_list_alone_shuts_it_out(fleet: Any) -> None:
    crl = (fleet.out / "broker" / "crl.pem").read_bytes()
    fleet.revoke("a")
    fleet.configure()
    (fleet.out / "broker" / "crl.pem").write_bytes(crl)
    fleet.reload()
    a, aggregator = connect(fleet, fleet.a), connect(fleet, "aggregator")  # its certificate is valid
    a.subscribe(down(fleet, fleet.a))
    a.subscribe("#")
    for topic in (up(fleet, fleet.a), fleet.topics.state(bytes.fromhex(fleet.a.id)), fleet.topics.manifest):
        assert a.publish(topic) == NOT_AUTHORISED
    aggregator.publish(down(fleet, fleet.a), b"for a")
    assert a.publish(up(fleet, fleet.a)) == NOT_AUTHORISED
    assert a.messages.empty()
    a.close()
    aggregator.close()


def test_a_second_revocation_is_taken_up_like_the_first(fleet: Any) -> None:
    """Mosquitto adds each list to those that it has, and OpenSSL takes the newest, by the second."""
    fleet.revoke("a")
    fleet.configure()
    fleet.reload()
    first = int(time.time())
    while int(time.time()) == first:
        time.sleep(0.02)
    fleet.revoke("b")
    fleet.configure()
    fleet.reload()
    for who in (fleet.a, fleet.b):
        with pytest.raises(RefusedError):
            connect(fleet, who)
    connect(fleet, "aggregator").close()


def test_a_restarted_broker_knows_it_still(fleet: Any) -> None:
    fleet.revoke("a")
    fleet.configure()
    fleet.stop()
    fleet.start()
    with pytest.raises(RefusedError):
        connect(fleet, fleet.a)
    connect(fleet, fleet.b).close()
