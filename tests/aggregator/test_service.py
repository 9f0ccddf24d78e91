"""The asyncio shell over the memory link: a whole job, late provisioning, a fatal link, a failing disk."""

import asyncio

import pytest

from aggregator import events as ev
from aggregator.notices import Done, RoundOpened, Started
from aggregator.service import Service
from aggregator.startup import assemble
from fedloom import failpoints
from fedloom.errors import LinkError, StoreError
from fedloom.link.base import Disconnected, Received
from fedloom.link.memory import MemoryBroker, MemoryLink
from fedloom.notify import Notifier
from fedloom.wire.messages import Phase, Verdict

PATIENCE_S = 20.0


class Network:
    """A memory broker, the rig's devices on it, and a task that keeps it moving."""

    def __init__(self, rig):
        self.rig = rig
        self.broker = MemoryBroker()
        self.told = []
        self.links = {}
        self.answered = {}
        for device in rig.devices:
            self.attach(device)

    def attach(self, device):
        link = MemoryLink(self.broker, device.id.hex(), lambda event: self.device_event(device, event))
        self.links[device.id] = link
        link.subscribe(device.topics.manifest)
        link.subscribe(device.topics.down(device.id))
        link.start()
        link.publish(device.topics.state(device.id), device.presence(), retain=True)

    def device_event(self, device, event):
        if not isinstance(event, Received) or not event.payload:
            return
        device.hear(event.topic, event.payload)
        link = self.links[device.id]
        link.acknowledge(event)
        is_asked = event.topic == device.topics.down(device.id) or event.topic == device.topics.manifest
        if not is_asked or not device.task() or self.answered.get(device.id) == device.manifest_hash:
            return
        self.answered[device.id] = device.manifest_hash
        if device.manifest.phase is Phase.DONE:
            link.publish(device.topics.state(device.id), device.presence("disconnected"), retain=True)
        else:
            link.publish(device.topics.up(device.id), device.update())

    def service(self, make_link=None, **options):
        self.rig.parts = parts = assemble(self.rig.config)
        make = make_link or (lambda on_event: MemoryLink(self.broker, parts.client_id, on_event))
        topics = parts.fleet.topics
        return Service(
            parts.core, parts.archive, parts.gate, topics, make, self.told.append, broker="hub:8883", **options
        )

    async def pump(self):
        while True:
            self.broker.run()
            await asyncio.sleep(0.001)

    async def run(self, service, until=None):
        pump = asyncio.create_task(self.pump())
        watch = asyncio.create_task(self.watch(service, until)) if until else None
        try:
            async with asyncio.timeout(PATIENCE_S):
                await service.run()
        finally:
            for task in (pump, watch):
                if task:
                    task.cancel()

    async def watch(self, service, until):
        while not until():
            await asyncio.sleep(0.001)
        service.stop()


@pytest.fixture
def network(make_rig):
    return Network(make_rig(devices=3))


def test_a_job_over_a_link(network):
    asyncio.run(network.run(network.service(exit_when_done=True)))
    assert isinstance(network.told[0], Started)
    assert isinstance(network.told[-1], Done)
    for device in network.rig.devices:
        assert {receipt.verdict for receipt in device.receipt_order} == {Verdict.ACCEPTED}


def test_every_message_is_acknowledged_or_the_broker_would_stop_sending(make_rig):
    network = Network(make_rig(devices=3, count=10))
    network.broker = MemoryBroker(window=4)
    for device in network.rig.devices:
        network.attach(device)
    asyncio.run(network.run(network.service(exit_when_done=True)))
    assert isinstance(network.told[-1], Done)


def test_the_throttle_counts_frames_as_this_broker_takes_them(network):
    network.broker = MemoryBroker(max_packet_bytes=16_000)
    for device in network.rig.devices:
        network.attach(device)
    asyncio.run(network.run(network.service(exit_when_done=True)))
    up = network.rig.devices[0].topics.up(network.rig.devices[0].id)
    assert network.rig.parts.core.coordinator._throttle._max_frame == network.broker.limits.max_payload_bytes(up)


def test_a_device_that_is_added_while_the_aggregator_runs_takes_part(make_rig):
    rig = make_rig(devices=2)
    network = Network(rig)
    rig.config.job.write_text(rig.config.job.read_text().replace("devices = 2", "devices = 3"))
    service = network.service(exit_when_done=True)

    async def scenario():
        running = asyncio.create_task(network.run(service))
        while not network.told:
            await asyncio.sleep(0.001)
        late = await asyncio.to_thread(rig.add_device, 7)
        network.attach(late)
        await running

    asyncio.run(scenario())
    assert next(n for n in network.told if isinstance(n, RoundOpened)).invited == 3


def test_a_stop_in_mid_round_is_clean_and_the_run_goes_on(network):
    asyncio.run(network.run(network.service(), until=lambda: any(isinstance(n, RoundOpened) for n in network.told)))
    network.rig.crash()
    asyncio.run(network.run(network.service(exit_when_done=True)))
    assert isinstance(network.told[-1], Done)
    assert [n.resumed for n in network.told if isinstance(n, Started)] == [False, True]


def test_a_broker_that_refuses_for_good_ends_the_service(network):
    class Refusing(MemoryLink):
        def start(self):
            self.emit(Disconnected("bad user name or password", fatal=True))

    service = network.service(lambda on_event: Refusing(network.broker, "x", on_event))
    told = r"^hub:8883: bad user name or password; check \[broker\] in the configuration$"
    with pytest.raises(LinkError, match=told):
        asyncio.run(network.run(service))


def test_a_disk_that_fails_ends_the_service_without_a_receipt(network, monkeypatch):
    service = network.service()

    def fail(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(network.rig.parts.archive, "add", fail)
    with pytest.raises(StoreError, match="the disk is full"):
        asyncio.run(network.run(service))
    assert all(device.receipt_order == [] for device in network.rig.devices)


@pytest.mark.parametrize("name", ["message-received", "message-verified", "message-acknowledged", "manifest-published"])
def test_an_error_that_nobody_expects_ends_the_service(network, name):
    failpoints.arm(f"aggregator.{name}:error")
    try:
        with pytest.raises(OSError, match="Input/output error"):
            asyncio.run(network.run(network.service(exit_when_done=True)))
    finally:
        failpoints.arm("")
    assert all(device.receipt_order == [] for device in network.rig.devices)


def test_an_error_in_what_the_link_says_ends_the_service_and_nothing_more_is_done(network, monkeypatch):
    service, seen = network.service(), []

    def fail(event, _):
        seen.append(event)
        raise ValueError("bytes that nobody has thought of")

    monkeypatch.setattr(network.rig.parts.gate, "passes", fail)
    with pytest.raises(ValueError, match="nobody has thought of"):
        asyncio.run(network.run(service))
    assert len(seen) == 1


def test_answers_that_wait_together_are_written_together(network):
    service = network.service()
    stores = [ev.Store(1, answer) for answer in ("a", "b")]
    service._orders.extend([stores[0], stores[1], None, stores[0]])
    assert service._next_orders() == stores
    assert service._next_orders() == [None]
    assert service._next_orders() == [stores[0]]


def test_the_service_manager_hears_that_it_is_ready_alive_and_stopping(network):
    said = []

    class Recorder(Notifier):
        def say(self, *lines):
            said.extend(lines)

    notifier = Recorder({"WATCHDOG_USEC": "2000000"})
    asyncio.run(network.run(network.service(exit_when_done=True, notifier=notifier)))
    assert said[0] == "WATCHDOG=1" or said[0] == "READY=1"
    assert {"READY=1", "WATCHDOG=1", "STOPPING=1"} <= set(said)
