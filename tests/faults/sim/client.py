"""A device's process: the real session, state directory, effects; a shell like edge_client.shell, without threads."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from edge_client import events
from edge_client.config import EdgeConfig, load_config
from edge_client.effects import Effects
from edge_client.outbox import StateDirectory
from edge_client.session import Session
from edge_client.shell import open_session
from fedloom.errors import FedloomError
from fedloom.link import base
from fedloom.trust.device_keys import DeviceKeys, load_device_keys
from sim.network import SimLink
from sim.oracle import Oracle
from sim.party import Party, Stage

Train = Callable[[events.Work, bytes], events.Answer]
"""Of a piece of work, and the device's own variate as it is on disk."""


class Client(Party):
    """One life after the other, on one directory of keys and state."""

    def __init__(
        self, stage: Stage, name: str, root: Path, oracle: Oracle, train: Train, *, clock_off_s: float, stays: bool
    ) -> None:
        """`clock_off_s`: what its wall clock is wrong by. `stays`: when the job is done, too."""
        super().__init__(stage, name, root)
        self.clock_off_s = clock_off_s
        self._oracle = oracle
        self._train = train
        self._stays = stays
        self._config: EdgeConfig = load_config(root / "edge.toml")
        self.keys: DeviceKeys = load_device_keys(root / "keys")
        self.is_finished = False
        """It has all that the job has for it."""
        self.session: Session | None = None
        self._directory: StateDirectory | None = None
        self._link: SimLink | None = None
        self._work: events.Work | None = None
        self._tick_at_s: float | None = None

    @property
    def is_training(self) -> bool:
        return self.is_up and self._work is not None

    def _boot(self) -> None:
        self._directory = directory = StateDirectory(self.root / "state")
        directory.hold()
        self.session = session = open_session(self._config, self.keys, directory)
        self._link = SimLink(self.stage.network, self.keys.id.hex(), self.name, self._from_link, self._will)
        self._effects = Effects(self._link, directory, self.root / "keys")
        self._work, self._tick_at_s = None, None
        self._up = session.topics.up(self.keys.id)
        self._handle(events.Started())
        self._link.start()

    def _bury(self) -> None:
        if self._link is not None:
            self.stage.network.died(self._link)
        if self._directory is not None:
            self._directory.release()
        self.session = self._directory = self._link = self._work = None

    def _failed(self, error: FedloomError) -> None:
        self._oracle.device_stopped(self, error)

    def _will(self) -> base.Will:
        assert self.session is not None
        will = self.session.will()
        self._oracle.number_used(self, will.payload)
        return base.Will(will.topic, will.payload, will.retain)

    def _from_link(self, event: base.Event) -> None:
        self.later(0.0, lambda: self._on_link(event))

    def _on_link(self, event: base.Event) -> None:
        assert self._link is not None
        match event:
            case base.Received(topic, payload):
                self._handle(events.Came(topic, payload))
                if self._link is not None:
                    self._link.acknowledge(event)
            case base.Connected(limits):
                self._handle(events.Connected(limits.max_payload_bytes(self._up), True, limits.receive_maximum))
            case base.Sent():
                self._handle(events.Sent(self._link.queued(self._up)))
            case base.Disconnected():
                self._handle(events.Disconnected())

    def _handle(self, event: events.Event) -> None:
        assert self.session is not None
        for action in self.session.handle(event, self.stage.agenda.now_s):
            self.may_die(f"before {type(action).__name__}")
            self._perform(action)
        self._wake()

    def _perform(self, action: Any) -> None:
        match action:
            case events.Train(work):
                self._oracle.trains(self, work)
                self._work = work
                dice = self.stage.dice
                is_slow = dice.chance(dice.rates.straggler)
                seconds = dice.uniform(20.0, 100.0) if is_slow else dice.uniform(0.1, 3.0)
                self.later(seconds, partial(self._trained, work))
            case events.Abandon():
                self._work = None
            case events.Finished():
                self.is_finished = True
                self.stage.story.tell(self.name, "has finished")
                if not self._stays:
                    self.later(0.1, self._leave)
            case _:
                self._oracle.device_acts(self, action)
                answer = self._effects.carry_out(action)
                self._oracle.device_did(self, action)
                if answer is not None:
                    self.later(0.0, partial(self._handle, answer))

    def _trained(self, work: events.Work) -> None:
        if self._work is work:
            self._work = None
            assert self._directory is not None
            own = self._directory.controls.read(work.control) if work.control else b""
            self._oracle.variate_used(self, work, own)
            current = self._directory.personals.current
            before = current.read_bytes() if current.exists() else b""
            answer = self._train(work, own)._replace(personal=before + work.manifest_hash)  # what made it, in order
            self._handle(events.Trained(work, answer))

    def _wake(self) -> None:
        """Ask for a tick when the session wants one."""
        at_s = self.session.wake_at_s if self.session else None
        if at_s is not None and at_s != self._tick_at_s:
            self._tick_at_s = at_s
            self.later(at_s - self.stage.agenda.now_s, partial(self._tick, at_s))

    def _tick(self, at_s: float) -> None:
        if at_s == self._tick_at_s:
            self._tick_at_s = None
            self._handle(events.Tick(True))

    def _leave(self) -> None:
        self._handle(events.Stopping())
        self.retire()

    def retire(self) -> None:
        """The process ends, in order, and is not started again."""
        self.is_retired = True
        if self.is_up:
            self.is_up = False
            assert self._link is not None
            assert self._directory is not None
            self._link.close()
            self._directory.release()
