"""The aggregator's process: the real core, archive and link gate; a shell like aggregator.service, without threads."""

from collections import deque
from pathlib import Path
from typing import Any

from aggregator import events as ev
from aggregator.archive import Archive
from aggregator.config import AggregatorConfig, Loaded, Retention
from aggregator.link_gate import Held
from aggregator.notices import RoundClosed, RoundOpened
from aggregator.records import Answer
from aggregator.rival import RivalError
from aggregator.startup import Parts, assemble
from fedloom.errors import FedloomError, LinkError
from fedloom.link import base
from fedloom.link.config import MqttConfig
from fedloom.wire.topics import Topics
from sim.network import SimLink
from sim.oracle import Oracle
from sim.party import Party, Stage
from sim.template import BEGAN_S

HOUSEKEEPING_S = 60.0


class Server(Party):
    """One life after the other, on one state directory."""

    def __init__(self, stage: Stage, root: Path, job: Path, oracle: Oracle) -> None:
        super().__init__(stage, "aggregator", root)
        retention = Retention(models=1000, rounds=1000)
        self._loaded = Loaded(AggregatorConfig("job.toml", MqttConfig("localhost"), retention=retention), root, job)
        self._oracle = oracle
        self.parts: Parts | None = None
        self.is_finished = False
        self._link: SimLink | None = None
        self._orders: deque[ev.Order] = deque()
        self._is_working = self._is_subscribed = False
        self._gate_is_due = False

    @property
    def archive(self) -> Archive:
        assert self.parts is not None
        return self.parts.archive

    def _boot(self) -> None:
        self.parts = parts = assemble(self._loaded)
        self._oracle.looked_at(self)
        self._topics = Topics(parts.fleet._root.federation)
        self._link = SimLink(self.stage.network, parts.client_id, self.name, self._from_link)
        self._is_working = self._is_subscribed = self._gate_is_due = False
        self._handle(ev.Begin())
        for each in parts.gate.topics:
            self._link.subscribe(each)
        self._link.start()
        self.later(HOUSEKEEPING_S, self._keep_house)

    def _bury(self) -> None:
        if self._link is not None:
            self.stage.network.died(self._link)
        self._orders.clear()
        # A killed process does not tidy up its write-ahead log.
        left = {each: each.read_bytes() for each in self.root.glob("aggregator.db*") if not each.name.endswith("-shm")}
        while self.stage.connections:
            self.stage.connections.pop().close()
        for path, content in left.items():
            path.write_bytes(content)
        for path in set(self.root.glob("aggregator.db*")) - left.keys():
            path.unlink()
        self.parts = self._link = None

    def _failed(self, error: FedloomError) -> None:
        if isinstance(error, RivalError):
            self._oracle.violated("I3", f"devices know what the state does not: {error}")

    def _from_link(self, event: base.Event) -> None:
        self.later(0.0, lambda: self._link_event(event))

    def _link_event(self, event: base.Event) -> None:
        assert self.parts is not None
        assert self._link is not None
        if self.parts.gate.passes(event, self.stage.agenda.now_s):
            self._let_in(event)
        elif isinstance(event, base.Received):
            self._link.acknowledge(event)
        self._speak_if_clear()

    def _let_in(self, event: base.Event) -> None:
        match event:
            case base.Received() | base.Sent():
                self._handle(event)
            case base.Connected(limits):
                self._max_payload_bytes = limits.max_payload_bytes(self._topics.up(bytes(16)))
            case base.Disconnected():
                self._handle(ev.LinkDown())

    def _speak_if_clear(self) -> None:
        assert self.parts is not None
        gate, now_s = self.parts.gate, self.stage.agenda.now_s
        self._gate_is_due = False
        held = gate.open_if_clear(now_s)
        if held is not None:
            self._speak(held)
        elif gate.wake_at_s is not None and not self._gate_is_due:
            self._gate_is_due = True
            self.later(gate.wake_at_s - now_s, self._speak_if_clear)

    def _speak(self, held: Held) -> None:
        assert self._link is not None
        if not self._is_subscribed:
            self._is_subscribed = True
            self._link.subscribe(self._topics.all_states)
            self._link.subscribe(self._topics.all_up)
        elif not held.is_all:
            self._link.subscribe(self._topics.all_states)
        self._handle(ev.LinkUp(self._max_payload_bytes))
        for message in held.messages:
            self._handle(message)

    def _keep_house(self) -> None:
        self.later(HOUSEKEEPING_S, self._keep_house)
        event = self.archive.changed_fleet()
        if event is not None:
            self._handle(event)

    def _handle(self, event: ev.Event) -> None:
        assert self.parts is not None
        now_s = self.stage.agenda.now_s
        for action in self.parts.core.handle(event, ev.Now(now_s, BEGAN_S + now_s)):
            self.may_die(f"before {type(action).__name__}")
            self._perform(action)

    def _publish(self, action: ev.Publish) -> None:
        assert self._link is not None
        self._oracle.aggregator_publishes(self, action.topic, action.payload)
        try:
            self._link.publish(action.topic, action.payload, retain=action.retain, tell=action.tell)
        except LinkError as error:
            self.stage.story.tell(self.name, "cannot send: %s", error)

    def _perform(self, action: Any) -> None:
        assert self._link is not None
        match action:
            case ev.Publish():
                self._publish(action)
            case ev.Acknowledge(received):
                self._link.acknowledge(received)
            case ev.Store() | ev.Fuse() | ev.Turn() | ev.Decide() | ev.Renew():
                self._orders.append(action)
                self._work_soon()
            case ev.WakeAt(at_s):
                self.later(at_s - self.stage.agenda.now_s, lambda: self._handle(ev.Tick()))
            case ev.Tell(notice):
                if isinstance(notice, RoundOpened | RoundClosed):
                    self.stage.story.tell(self.name, "%s", notice)
            case ev.Warn(problem):
                self.stage.story.tell(self.name, "warns: %s", problem)
            case ev.Resubscribe():
                self._link.subscribe(self._topics.all_states)
            case ev.Finish():
                self.is_finished = True

    def _work_soon(self) -> None:
        if not self._is_working and self._orders:
            self._is_working = True
            self.later(self.stage.dice.uniform(0.0005, 0.02), self._work)

    def _work(self) -> None:
        """What the worker thread does with the oldest order, and with those that share its transaction."""
        order = self._orders.popleft()
        orders = [order]
        while isinstance(order, ev.Store) and self._orders and isinstance(self._orders[0], ev.Store):
            orders.append(self._orders.popleft())
        event = self._carry_out(order, orders)
        self.later(self.stage.dice.uniform(0.0, 0.002), lambda: self._worked(event))

    def _worked(self, event: ev.Event) -> None:
        self._is_working = False
        self._handle(event)
        self._work_soon()

    def _carry_out(self, order: ev.Order, orders: list[ev.Order]) -> ev.Event:
        archive = self.archive
        match order:
            case ev.Store(version):
                answers: list[Answer] = [each.answer for each in orders if isinstance(each, ev.Store)]
                return archive.add(version, answers)
            case ev.Fuse():
                return archive.fuse(order)
            case ev.Turn():
                self._oracle.turning(order)
                turned = archive.turn(order)
                self._oracle.looked_at(self)
                return turned
            case ev.Decide():
                return archive.decide([order])
            case ev.Renew():
                return archive.renew([order])
