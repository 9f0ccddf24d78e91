"""The broker that `fedloom broker config mosquitto` configures: who may connect, and who may use which topic."""

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mqtt_client import DELIVERED, NOT_AUTHORISED, Client, RefusedError

pytestmark = pytest.mark.broker

STRANGER = "5e" * 16


@pytest.fixture(scope="module")
def members(shared_federation: Any) -> dict[str, Any]:
    return {name: shared_federation.device(name) for name in ("a", "b")}


@pytest.fixture
def connect(shared_federation: Any, members: dict[str, Any]) -> Iterator[Callable[..., Client]]:
    """By name of a device, or "aggregator"."""
    clients: list[Client] = []

    def connect_as(name: str, client_id: str | None = None) -> Client:
        who = members.get(name, name)
        client_id = client_id or getattr(who, "id", name)
        clients.append(Client(shared_federation.port, shared_federation.context(who), client_id))
        return clients[-1]

    yield connect_as
    for client in clients:
        client.close()


@pytest.fixture
def join(shared_federation: Any) -> Iterator[Callable[..., Client]]:
    """On the listener for joining, without a certificate."""
    clients: list[Client] = []

    def connect_as(client_id: str) -> Client:
        context = shared_federation.context(None)
        clients.append(Client(shared_federation.join_port, context, client_id, client_id))
        return clients[-1]

    yield connect_as
    for client in clients:
        client.close()


@pytest.fixture
def topic(shared_federation: Any, members: dict[str, Any]) -> Callable[[str], str]:
    """A topic of the federation; <a> and <b> are the devices' ids."""

    def full(text: str) -> str:
        for name, member in members.items():
            text = text.replace(f"<{name}>", member.id)
        return f"fedloom/{shared_federation.topics.federation.hex()}/{text}"

    return full


def test_updates_travel_from_a_device_to_the_aggregator(connect: Any, topic: Any) -> None:
    aggregator, device = connect("aggregator"), connect("a")
    assert aggregator.subscribe(f"$share/fedloom/{topic('d/+/up')}") == 1
    assert aggregator.subscribe(topic("d/+/state")) == 1

    assert device.publish(topic("d/<a>/up"), b"update") == 0
    assert aggregator.next_message() == (topic("d/<a>/up"), b"update")
    assert device.publish(topic("d/<a>/state"), b"ready", retain=True) == 0
    assert aggregator.next_message() == (topic("d/<a>/state"), b"ready")


@pytest.mark.parametrize(
    "rest", ["d/<b>/up", "d/<b>/state", "d/<a>/down", "d/<b>/down", "all/manifest", "all/root/2", "enrol/<a>/up", "x"]
)
def test_a_device_may_not_write(connect: Any, topic: Any, rest: str) -> None:
    assert connect("a").publish(topic(rest)) == NOT_AUTHORISED


def test_a_device_may_not_write_into_another_federation(connect: Any, members: dict[str, Any]) -> None:
    assert connect("a").publish(f"fedloom/{STRANGER}/d/{members['a'].id}/up") == NOT_AUTHORISED


def test_a_device_reads_its_own_topics_and_no_others(connect: Any, topic: Any) -> None:
    aggregator, a, b = connect("aggregator"), connect("a"), connect("b")
    for rest in ("d/+/down", "d/<b>/down", "d/+/up", "d/<a>/up", "enrol/+/up", "#"):
        a.subscribe(topic(rest))
    a.subscribe("#")
    b.subscribe(topic("d/<b>/down"))

    assert aggregator.publish(topic("d/<b>/down"), b"for b") == 0
    assert b.publish(topic("d/<b>/up"), b"from b") in DELIVERED
    assert a.publish(topic("d/<a>/up"), b"from a") in DELIVERED
    assert aggregator.publish(topic("d/<a>/down"), b"for a") == 0
    assert b.next_message() == (topic("d/<b>/down"), b"for b")
    # The broker keeps a publisher's order, so whatever it wanted to leak has come before this one.
    received = [a.next_message()]
    while received[-1][1] != b"for a":
        received.append(a.next_message())
    assert {where for where, _ in received} <= {topic("d/<a>/down"), topic("all/manifest")}


def test_every_device_reads_what_the_aggregator_publishes_to_all(connect: Any, topic: Any) -> None:
    aggregator = connect("aggregator")
    assert aggregator.publish(topic("all/manifest"), b"manifest", retain=True) in DELIVERED
    for name in ("a", "b"):
        device = connect(name)
        device.subscribe(topic("all/#"))
        assert device.next_message() == (topic("all/manifest"), b"manifest")


def test_a_device_cannot_throw_another_off_by_taking_its_client_id(
    connect: Any, topic: Any, members: dict[str, Any]
) -> None:
    a = connect("a")
    connect("b", client_id=members["a"].id)
    assert a.publish(topic("d/<a>/up")) in DELIVERED
    assert a.disconnected.empty()


def test_limits_are_announced(connect: Any) -> None:
    connack = connect("a").connack
    assert connack.MaximumPacketSize == 131072
    assert connack.ReceiveMaximum == 32


@pytest.mark.parametrize("who", ["nobody", "of another federation"])
def test_no_certificate_of_ours_no_connection(
    shared_federation: Any, tmp_path: Any, who: str, members: dict[str, Any]
) -> None:
    context = shared_federation.context(None)
    if who != "nobody":
        other = type(shared_federation)(tmp_path).device("a")
        context.load_cert_chain(other.home / "keys" / "tls.crt", other.home / "keys" / "tls.key")
    with pytest.raises(RefusedError):
        Client(shared_federation.port, context, members["a"].id)


@pytest.mark.parametrize("port", ["port", "join_port"])
def test_there_is_no_older_tls(shared_federation: Any, members: dict[str, Any], port: str) -> None:
    context = shared_federation.context(members["a"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("localhost", getattr(shared_federation, port)), timeout=5) as plain,
        pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_who_joins_talks_to_the_registrar_alone(connect: Any, join: Any, topic: Any) -> None:
    aggregator, joining = connect("aggregator"), join(STRANGER)
    assert aggregator.subscribe(topic("enrol/+/up")) == 1
    assert aggregator.publish(topic("all/root/1"), b"root", retain=True) in DELIVERED
    joining.subscribe(topic("all/root/+"))
    assert joining.next_message() == (topic("all/root/1"), b"root")
    joining.subscribe(topic(f"enrol/{STRANGER}/down"))
    assert joining.publish(topic(f"enrol/{STRANGER}/up"), b"let me in") == 0
    assert aggregator.next_message() == (topic(f"enrol/{STRANGER}/up"), b"let me in")
    assert aggregator.publish(topic(f"enrol/{STRANGER}/down"), b"welcome") == 0
    assert joining.next_message() == (topic(f"enrol/{STRANGER}/down"), b"welcome")


@pytest.mark.parametrize("client_id", [STRANGER, "<a>"])
@pytest.mark.parametrize(
    "rest", ["d/<a>/up", "d/<a>/state", "d/<a>/down", "all/manifest", "all/root/2", f"enrol/{'0f' * 16}/up", "x"]
)
def test_who_joins_may_not_write(join: Any, topic: Any, members: dict[str, Any], client_id: str, rest: str) -> None:
    """Not even under the client id of a member."""
    assert join(client_id.replace("<a>", members["a"].id)).publish(topic(rest)) == NOT_AUTHORISED


@pytest.mark.parametrize("client_id", ["+", "#", f"{STRANGER}/up", "%c"])
def test_a_client_id_with_wildcards_opens_nothing(connect: Any, join: Any, topic: Any, client_id: str) -> None:
    aggregator = connect("aggregator")
    try:
        joining = join(client_id)
    except RefusedError:
        return
    assert joining.publish(topic(f"enrol/{'0f' * 16}/up")) == NOT_AUTHORISED
    joining.subscribe(topic("enrol/+/down"))
    assert aggregator.publish(topic(f"enrol/{'0f' * 16}/down"), b"not for it") in DELIVERED
    assert joining.publish(topic("x")) == NOT_AUTHORISED  # its answer comes after what it would have got
    assert joining.messages.empty()


def test_who_joins_reads_nothing_of_members(connect: Any, join: Any, topic: Any) -> None:
    aggregator, device, joining = connect("aggregator"), connect("a"), join(STRANGER)
    for rest in ("#", "d/+/up", "d/+/state", "d/<a>/down", "all/manifest", "enrol/+/up", "enrol/+/down"):
        joining.subscribe(topic(rest))
    assert device.publish(topic("d/<a>/up"), b"up") in DELIVERED
    assert aggregator.publish(topic("d/<a>/down"), b"down") in DELIVERED
    assert aggregator.publish(topic("all/manifest"), b"manifest", retain=True) in DELIVERED
    assert aggregator.publish(topic(f"enrol/{'0f' * 16}/down"), b"of another") in DELIVERED
    assert aggregator.publish(topic(f"enrol/{STRANGER}/down"), b"marker") in DELIVERED
    seen = [joining.next_message()]
    while seen[-1][1] != b"marker":
        seen.append(joining.next_message())
    assert {where for where, _ in seen[:-1] if not where.startswith(topic("all/root/"))} == set()


def test_strangers_cannot_throw_the_aggregator_off(shared_federation: Any, connect: Any, join: Any, topic: Any) -> None:
    """They learn its id from the root document; its client id is another, and a secret."""
    aggregator = connect("aggregator", client_id=shared_federation.aggregator_id)
    aggregator.subscribe(topic("enrol/+/up"))
    joining = join(shared_federation.aggregator_id)
    assert joining.publish(topic(f"enrol/{shared_federation.aggregator_id}/up"), b"hello") == 0
    assert aggregator.next_message()[1] == b"hello"
    assert aggregator.disconnected.empty()


def test_the_aggregators_name_is_new_for_each_certificate(shared_federation: Any) -> None:
    certificate = (shared_federation.out / "aggregator" / "aggregator.crt").read_text()
    assert shared_federation.aggregator_id not in (shared_federation.out / "broker" / "acl").read_text()
    assert not (shared_federation.out / "broker" / "aggregator.key").exists()
    assert "PRIVATE" not in certificate


def test_the_log_tells_a_denial(shared_federation: Any, connect: Any, topic: Any) -> None:
    """So that a log without one says that nothing was denied."""
    denied = topic("d/<b>/up")
    connect("a").publish(denied)
    assert "Denied PUBLISH" in shared_federation.log.read_text()
