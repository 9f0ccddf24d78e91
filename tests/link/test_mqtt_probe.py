"""The doctor's connection: what it finds out from real brokers that permit everything, and that it leaves nothing."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedloom.errors import LinkError
from fedloom.link.config import MqttConfig
from fedloom.link.mqtt_probe import Probe, Verdict
from simulation.broker import Broker, find_mosquitto, start_broker


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    lines = ["max_packet_size 5000", "acl_file {acl}"]
    directory = tmp_path_factory.mktemp("probe")
    acl = directory / "acl"
    acl.write_text("pattern readwrite open/%c/#\n")
    with start_broker(directory, "mosquitto", [line.format(acl=acl) for line in lines]) as broker:
        yield broker


def config(broker: Broker) -> MqttConfig:
    return MqttConfig(host=broker.host, port=broker.port)


def test_what_mosquitto_says_and_does(mosquitto: Broker) -> None:
    with Probe(config(mosquitto), "me", None) as probe:
        assert probe.permits.protocol == 5
        assert probe.permits.max_packet_bytes == 5000
        assert (probe.permits.maximum_qos, probe.permits.retain, probe.permits.wildcards) == (2, True, True)
        assert probe.subscribe("open/#")
        assert probe.publish("open/me/x", b"x") is Verdict.TAKEN
        assert probe.publish("open/you/x", b"x") is Verdict.DENIED
        probe.listen(0.2)
        assert probe.heard == {"open/me/x"}


def test_after_a_broker_has_hung_up_it_goes_on_with_its_subscriptions(mosquitto: Broker) -> None:
    """As AWS IoT Core does on what a policy denies."""
    with Probe(config(mosquitto), "me", None) as probe:
        assert probe.subscribe("open/#")
        assert probe.publish("open/me/large", bytes(6000)) is Verdict.DENIED  # too large: Mosquitto hangs up
        assert probe.publish("open/me/x", b"x") is Verdict.TAKEN
        probe.listen(0.2)
        assert probe.heard == {"open/me/x"}


def test_nothing_of_it_stays(mosquitto: Broker) -> None:
    with Probe(config(mosquitto), "me", None) as probe:
        probe.subscribe("open/#")
        probe.publish("open/me/x", b"x")
    with Probe(config(mosquitto), "me", None) as again:
        again.listen(0.2)
        assert again.heard == set()  # no session
        again.subscribe("open/#")
        again.listen(0.2)
        assert again.heard == set()  # nothing retained


def test_a_broker_without_mqtt_5_does_not_say_what_it_denies(tmp_path: Path) -> None:
    with start_broker(tmp_path, "amqtt") as broker, Probe(config(broker), "me", None) as probe:
        assert probe.permits.protocol == 4
        assert probe.publish("x", b"x") is Verdict.UNKNOWN


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(LinkError, match=str(port)):
        Probe(MqttConfig(host="127.0.0.1", port=port), "me", None)


def test_somebody_who_hangs_up(recwarn: pytest.WarningsRecorder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            for _ in range(2):
                server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(LinkError, match="hung up"):
            Probe(MqttConfig(host="127.0.0.1", port=server.getsockname()[1]), "me", None)
