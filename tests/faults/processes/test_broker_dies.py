"""SIGKILL to the broker in each phase of a round, and it comes back with nothing; a whole fleet comes back at once."""

import os
import signal
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import pytest
from process_fleet import AGGREGATOR, DEVICES, PATIENCE_S, POLL_S, Fleet, Model, is_stopped

from fedloom.link.base import Connected, Disconnected, Event
from fedloom.link.mqtt import MqttConfig, MqttLink
from simulation.broker import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]
MakeFleet = Callable[..., Fleet]
PHASES = {
    "announced": "aggregator.manifest-published",
    "heard": "device.manifest-received",
    "training": "device.training",
    "stored": "device.outbox-stored",
    "published": "device.update-published",
    "arrived": "aggregator.message-received",
    "acknowledged": "aggregator.message-acknowledged",
    "collected": "aggregator.quorum",
    "fused": "aggregator.model-committed",
    "finished": "device.model-renamed",
}


@pytest.mark.parametrize("phase", PHASES)
def test_the_broker_dies_with_all_that_it_knows(
    phase: str, make_fleet: MakeFleet, own_broker: Broker, undisturbed: list[Model]
) -> None:
    # A goodbye may die with the broker; then the aggregator waits for that device, at most as long as a round.
    fleet = make_fleet(deadline_s=4.0) if phase == "finished" else make_fleet()
    name = PHASES[phase]
    member = AGGREGATOR if name.startswith(AGGREGATOR) else DEVICES[0]
    fleet.start({member: [f"{name}:stop@1"]})
    stopped = fleet.members[member].pid
    fleet.until(lambda: is_stopped(stopped))
    own_broker.kill()
    own_broker.restart()
    os.kill(stopped, signal.SIGCONT)
    fleet.finish()
    assert fleet.deaths == []
    assert fleet.models() == undisturbed


class Fans:
    """Links that do nothing but come back."""

    def __init__(self, broker: Broker, count: int) -> None:
        self.up_at_s: defaultdict[int, list[float]] = defaultdict(list)
        self._lock = threading.Lock()
        config = MqttConfig(host=broker.host, port=broker.port)
        self.links = [
            MqttLink(config, f"fan-{number}", lambda event, number=number: self._heard(number, event))  # type: ignore[misc]
            for number in range(count)
        ]

    def _heard(self, number: int, event: Event) -> None:
        if isinstance(event, Connected):
            with self._lock:
                self.up_at_s[number].append(time.monotonic())
        assert not (isinstance(event, Disconnected) and event.fatal)

    def await_connections(self, times: int, patience_s: float) -> None:
        deadline_s = time.monotonic() + patience_s
        while sum(len(self.up_at_s[number]) >= times for number in range(len(self.links))) < len(self.links):
            assert time.monotonic() < deadline_s, f"{len(self.up_at_s)} of {len(self.links)} came"
            time.sleep(POLL_S)


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_all_come_back_but_not_all_at_once(own_broker: Broker, count: int) -> None:
    if count > 50 and not os.environ.get("FEDLOOM_STORM"):
        pytest.skip(
            "takes half a minute; run: FEDLOOM_STORM=1 pytest tests/faults/processes/test_broker_dies.py -k 500"
        )
    own_broker.restart()
    fans = Fans(own_broker, count)
    try:
        for link in fans.links:
            link.start()
        fans.await_connections(1, PATIENCE_S)
        own_broker.kill()
        own_broker.restart()
        began_s = time.monotonic()
        fans.await_connections(2, PATIENCE_S)
        after_s = [times[1] - began_s for times in fans.up_at_s.values()]
    finally:
        for link in fans.links:
            link.closing.set()
        for link in fans.links:
            link.close()
    print(f"{count}: median {statistics.median(after_s):.2f} s, last {max(after_s):.2f} s")
    assert statistics.pstdev(after_s) > 0.02  # drawn, not in step: from 0 to half a second at first
