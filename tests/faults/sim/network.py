"""A broker with latency that loses, repeats, changes and reorders, forgets all, and loses sight of its clients."""

from functools import partial

from fedloom.link.base import Disconnected, MakeWill, OnEvent, Sent, Will
from fedloom.link.memory import MemoryBroker, MemoryLink
from fedloom.link.outgoing import Outgoing
from sim.agenda import Agenda, Story
from sim.dice import Dice

KEEPALIVE_S = 45.0
"""After so long without a word a connection is given up, by both ends."""
MAX_QUEUED = 1000
"""Messages that a broker keeps for a client; what is more is lost, as with Mosquitto's default."""


class SimLink(MemoryLink):
    """A client's link; what it sends takes a while."""

    def __init__(
        self, network: "Network", client_id: str, name: str, on_event: OnEvent, will: MakeWill | None = None
    ) -> None:
        super().__init__(network, client_id, on_event, will=will)
        self.name = name
        self.is_dead = False
        """Its process is no more."""
        self.arrives_s = 0.0
        """When the last message that was sent will be at the broker."""
        self.serial = 0
        self._network = network

    def start(self) -> None:
        self._network.dial(self)

    def close(self) -> None:
        """A goodbye: what was sent arrives, no will is published."""
        self._network.leave(self)
        super().close()

    def _send(self) -> None:
        while self.online and (message := self._queue.take(window=1)) is not None:
            self._queue.drop(message)
            self._network.carry(self, message)
            if message.tell:
                self._network.tell(self, message.topic)


class Network(MemoryBroker):
    """Everything between the processes."""

    def __init__(self, agenda: Agenda, story: Story, dice: Dice, *, max_packet_bytes: int, will_delay_s: float) -> None:
        super().__init__(max_packet_bytes)
        self._agenda = agenda
        self._story = story
        self._dice = dice
        self._will_delay_s = will_delay_s
        self._generation = 0
        """Counts the broker's lives."""
        self._frozen: set[str] = set()
        """Client ids whose packets do not move."""
        self._pumping: set[str] = set()

    # What clients do

    def dial(self, link: SimLink) -> None:
        """Try to connect, again and again."""
        self._agenda.after(self._dice.uniform(0.01, 1.0), partial(self._try, link))

    def _try(self, link: SimLink) -> None:
        if link.is_dead or link.online:
            return
        if not self.running or link.client_id in self._frozen:
            self._agenda.after(self._dice.uniform(0.5, 5.0), partial(self._try, link))
            return
        before = self.links.get(link.client_id)
        self.links[link.client_id] = link
        if isinstance(before, SimLink) and before is not link and before.online:
            self._story.tell("broker", "%s takes the place of another client with its id", link.name)
            before.online = False
            self._will_of(before)
            before.emit(Disconnected("taken over", taken_over=True))
            self.dial(before)
        link.arrives_s = self._agenda.now_s
        link.serial += 1
        self._pumping.discard(link.client_id)
        self._connect(link)
        self._pump(link.client_id)

    def carry(self, link: SimLink, message: Outgoing) -> None:
        """A message leaves a client."""
        if self._loses(link, message):
            return
        at_s = max(link.arrives_s, self._agenda.now_s + self._latency_s())
        if not self._dice.chance(self._dice.rates.reorder):
            link.arrives_s = at_s
        self._arrive_at(at_s, link, message)
        if self._dice.chance(self._dice.rates.duplicate):
            self._arrive_at(at_s + self._dice.pick((0.01, 5.0, 60.0)), link, message)

    def _arrive_at(self, at_s: float, link: SimLink, message: Outgoing) -> None:
        do = partial(self._arrive, link, link.serial, self._generation, self._bent(link, message))
        self._agenda.after(at_s - self._agenda.now_s, do)

    def _arrive(self, link: SimLink, serial: int, generation: int, message: Outgoing) -> None:
        if generation != self._generation:
            return
        if link.client_id in self._frozen:
            self._agenda.after(1.0, partial(self._arrive, link, serial, generation, message))
        elif serial == link.serial or self._dice.chance(0.5):  # else it was on its way when the connection broke
            self.route(message)

    def tell(self, link: SimLink, topic: str) -> None:
        """The broker's PUBACK, which says nothing of what becomes of the message."""

        def do(serial: int = link.serial) -> None:
            if link.online and link.serial == serial and link.client_id not in self._frozen:
                link.emit(Sent(topic))

        self._agenda.after(link.arrives_s - self._agenda.now_s + self._latency_s(), do)

    def leave(self, link: SimLink) -> None:
        """A client says goodbye: it has no will any more."""
        if link.online and (session := self._sessions.get(link.client_id)):
            session.will = None

    # What the broker does

    def route(self, message: Outgoing) -> None:
        super().route(message)
        for client_id, session in self._sessions.items():
            if len(session.waiting) > MAX_QUEUED:
                session.waiting.pop()
            self._pump(client_id)

    def subscribe(self, link: MemoryLink, topic_filter: str) -> None:
        super().subscribe(link, topic_filter)
        self._pump(link.client_id)

    def acknowledge(self, client_id: str, token: object) -> None:
        super().acknowledge(client_id, token)  # type: ignore[arg-type]
        self._pump(client_id)

    def _pump(self, client_id: str) -> None:
        """See to it that what waits for a client is on its way."""
        link = self.links.get(client_id)
        if client_id not in self._pumping and isinstance(link, SimLink) and link.online and self._has_step(link):
            self._pumping.add(client_id)
            self._agenda.after(self._latency_s(), partial(self._deliver, link, link.serial))

    def _deliver(self, link: SimLink, serial: int) -> None:
        client_id = link.client_id
        if self.links.get(client_id) is not link or link.serial != serial:
            return  # it was slow on a connection that is no more
        self._pumping.discard(client_id)
        if not link.online or not self._has_step(link):
            return
        if client_id in self._frozen:
            self._pumping.add(client_id)
            self._agenda.after(1.0, partial(self._deliver, link, serial))
            return
        waiting, dice = self._sessions[client_id].waiting, self._dice
        if len(waiting) > 1 and dice.chance(dice.rates.reorder):
            waiting.rotate(-1 - dice.below(len(waiting) - 1))
            self._story.tell("network", "reorders what waits for %s", link.name)
        message, is_retained = waiting[0]
        if self._loses(link, message):
            waiting.popleft()
        else:
            if dice.chance(dice.rates.duplicate):
                waiting.append(waiting[0])
            waiting[0] = (self._bent(link, message), is_retained)
            self.step(client_id)
        self._pump(client_id)

    def _loses(self, link: SimLink, message: Outgoing) -> bool:
        if not self._dice.chance(self._dice.rates.drop):
            return False
        self._story.tell("network", "loses %s of %s", _short(message.topic), link.name)
        return True

    def _bent(self, link: SimLink, message: Outgoing) -> Outgoing:
        if not message.payload or not self._dice.chance(self._dice.rates.corrupt):
            return message
        at = self._dice.below(len(message.payload))
        changed = bytearray(message.payload)
        changed[at] ^= 1 << self._dice.below(8)
        self._story.tell("network", "flips a bit of byte %d in %s of %s", at, _short(message.topic), link.name)
        return message._replace(payload=bytes(changed))

    def _latency_s(self) -> float:
        if self._dice.chance(self._dice.rates.slow):
            return self._dice.pick((2.0, 10.0, 90.0)) * self._dice.uniform(0.5, 1.5)
        return self._dice.uniform(0.002, 0.05)

    # What becomes of connections

    def died(self, link: SimLink) -> None:
        """A client's process is no more; the broker sees that at once."""
        link.is_dead = True
        if link.online:
            link.online = False
            self._will_of(link)

    def partition(self, client_id: str, for_s: float) -> None:
        """Nothing reaches a client, nor comes from it; neither end knows. Longer than a keepalive, both give up."""
        self._frozen.add(client_id)
        self._agenda.after(min(for_s, KEEPALIVE_S), partial(self._thaw, client_id, for_s))

    def _thaw(self, client_id: str, for_s: float) -> None:
        if for_s > KEEPALIVE_S:
            self.sever(client_id, "keepalive")
            self._agenda.after(for_s - KEEPALIVE_S, partial(self._thaw, client_id, 0.0))
        else:
            self._frozen.discard(client_id)

    def sever(self, client_id: str, reason: str) -> None:
        """Break a connection."""
        link = self.links.get(client_id)
        if isinstance(link, SimLink) and link.online:
            link.online = False
            link.serial += 1
            self._will_of(link)
            link.emit(Disconnected(reason))
            self.dial(link)

    def _will_of(self, link: SimLink) -> None:
        session = self._sessions[link.client_id]
        if session.will is not None:
            do = partial(self._say_will, link, session, session.serial, session.will)
            self._agenda.after(self._will_delay_s, do)

    def _say_will(self, link: SimLink, session: object, serial: int, will: Will) -> None:
        now = self._sessions.get(link.client_id)
        if now is session and now.serial == serial and self.running:
            self._story.tell("broker", "publishes the will of %s", link.name)
            self.route(Outgoing(will.topic, will.payload, will.retain))

    def heal(self) -> None:
        """From now on all is well: a good network in the place of the bad one, with a new connection for everybody."""
        self._frozen.clear()
        self.running = True
        self._generation += 1
        for client_id in sorted(self.links):
            self.sever(client_id, "a better connection")

    def crash(self) -> None:
        self._generation += 1
        links = [link for link in self.links.values() if isinstance(link, SimLink) and link.online]
        super().crash()
        for link in links:
            link.serial += 1
            self.dial(link)


def _short(topic: str) -> str:
    return "/".join(part[-6:] for part in topic.split("/")[2:])
