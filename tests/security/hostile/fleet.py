"""A real aggregator process behind a real broker, and devices that a test plays over real connections."""

import queue
import time
from pathlib import Path

from aggregator.enrolment.provision import new_device
from fedloom.link.base import Connected, Received
from fedloom.link.config import MqttConfig
from fedloom.link.mqtt import MqttLink
from fedloom.trust.device_keys import load_device_keys
from fedloom.trust.tokens import Broker, TlsMode
from hostile.rig import HONEST, FakeDevice, job_text
from simulation.processes import LocalFleet

PATIENCE_S = 30.0


class Player:
    """A device that says what a test wants, over MQTT."""

    def __init__(self, number, name, keys, address):
        self.device = FakeDevice(number, name, keys)
        self._events = queue.Queue()
        self._link = MqttLink(MqttConfig(*address), self.device.id.hex(), self._events.put)
        for topic in (self.device.topics.manifest, self.device.topics.down(self.device.id)):
            self._link.subscribe(topic)
        self._link.start()

    def say(self, *messages):
        """Publish on the uplink, in this order."""
        for message in messages:
            self._link.publish(self.device.topics.up(self.device.id), message)

    def queued(self):
        """Messages on the uplink that the broker does not have yet."""
        return self._link.queued(self.device.topics.up(self.device.id))

    def state(self, word):
        topic = self.device.topics.state(self.device.id)
        self._link.publish(topic, self.device.presence(word), retain=True)

    def hear(self):
        """Take what has come; on each connection, say that we are ready."""
        while not self._events.empty():
            event = self._events.get()
            if isinstance(event, Connected):
                self.state("ready")
            elif isinstance(event, Received):
                if event.payload:
                    self.device.hear(event.topic, event.payload)
                self._link.acknowledge(event)

    def close(self):
        self._link.close()


class PlayedFleet(LocalFleet):
    """No daemons: `hostile` players behind the honest ones."""

    def __init__(self, directory, hostile, suite="hybrid", **settings):
        directory.mkdir(parents=True)
        self.players = []
        self._number = HONEST + hostile
        job = directory / "job.toml"
        job.write_text(job_text(**{"devices": self._number, "min_updates": HONEST, "evaluate": 0.0} | settings))
        super().__init__(directory / "fleet", job, [], suite=suite)

    def _start_aggregator(self, state: Path):
        broker = Broker(*self.address(), TlsMode.NONE)
        for number in range(self._number):
            name, known_id = f"device-{number}", (number + 1).to_bytes(16, "big")
            new_device(state, name, self.directory / name, broker=broker, device_id=known_id)
        child = super()._start_aggregator(state)
        for number in range(self._number):
            name = f"device-{number}"
            keys = load_device_keys(self.directory / name / "keys")
            self.players.append(Player(number, name, keys, self.address()))
        return child

    def until(self, condition):
        """Let the players hear until `condition` holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            for player in self.players:
                player.hear()
            assert self.aggregator.process.poll() is None, self.aggregator.last_words()
            assert time.monotonic() < deadline, "nothing comes of it"
            time.sleep(0.005)

    def memory_kb(self, field="VmRSS"):
        """What the aggregator's process has, or with VmHWM has had at most."""
        status = Path(f"/proc/{self.aggregator.process.pid}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0])

    def stop(self, *, gently: bool = True) -> None:
        for player in self.players:
            player.close()
        super().stop(gently=gently)
