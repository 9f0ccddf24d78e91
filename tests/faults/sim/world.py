"""One run: a federation is built, broken for a while, left alone, and judged."""

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sim import verdict
from sim.agenda import Agenda, Story
from sim.client import Client
from sim.dice import Dice
from sim.disk import Disk
from sim.machine import simulated
from sim.network import Network
from sim.oracle import Oracle, Violation
from sim.party import Party
from sim.scenario import draw, honest, malicious
from sim.server import Server
from sim.template import memory, name_of, template

MAX_DEADLINES = 60
"""For how long a job may go on when nothing breaks any more."""


class World:
    """All that happens in one seed."""

    def __init__(self, seed: int, directory: Path, rates: Mapping[str, float]) -> None:
        """`rates`: of faults, instead of those that the seed has drawn."""
        self.dice = Dice(seed)
        drawn = draw(self.dice)
        self.scenario = scenario = drawn._replace(rates=drawn.rates._replace(**rates))
        self.agenda = Agenda()
        self.story = Story(self.agenda)
        self.disk = Disk(self.dice)
        self.network = Network(
            self.agenda,
            self.story,
            self.dice,
            max_packet_bytes=scenario.max_packet_bytes,
            will_delay_s=scenario.will_delay_s,
        )
        self.active: Party | None = None
        self.connections: list[sqlite3.Connection] = []
        self.oracle = Oracle(self, self.disk)
        self._directory = directory
        self._copies: dict[str, Path] = {}
        self._progress = (0, 0.0)
        """Rounds so far, and when the last of them came."""
        self.story.tell("seed", "%s", scenario)

    def run(self) -> None:
        """Raises Violation."""
        with simulated(self):
            try:
                self._build()
                self.dice.rates, self.dice.left = self.scenario.rates, self.scenario.breaks
                self._gremlin()
                self._go_until(self.scenario.chaos_s)
                self._heal()
                self._settle()
                with contextlib.ExitStack() as stack:
                    stack.callback(setattr, self, "active", None)
                    verdict.check(self.oracle, self.server, self.clients)
            finally:
                self._close()

    def _build(self) -> None:
        scenario = self.scenario
        template().copy(self._directory, scenario.devices)
        job = self._directory / "job.toml"
        job.write_text(scenario.job())
        self.server = Server(self, self._directory / "aggregator", job, self.oracle)
        self.clients = [self._client(number) for number in range(scenario.devices)]
        self.oracle.clients = {client.keys.id: client for client in self.clients}
        for party in (self.server, *self.clients):
            self.disk.adopt(party.root)
            self.agenda.after(self.dice.uniform(0.0, 2.0), party.start)

    def _client(self, number: int) -> Client:
        scenario = self.scenario
        is_last = number == scenario.devices - 1
        if is_last and scenario.odd:
            self.oracle.unreliable.add(name_of(number))
        make = malicious if is_last and scenario.odd == "malicious" else honest
        return Client(
            self,
            name_of(number),
            self._directory / name_of(number),
            self.oracle,
            make(number, self.dice),
            clock_off_s=scenario.clock_off_s if number == 0 else 0.0,
            stays=scenario.stays,
        )

    def _go_until(self, until_s: float) -> None:
        while self.agenda.now_s < until_s and not self.server.is_finished:
            self.agenda.step()

    def _heal(self) -> None:
        self.story.tell("world", "nothing breaks any more")
        self.dice.heal()
        self.network.heal()
        if len(self.clients) > self.scenario.devices:
            clone = self.clients.pop()
            clone.retire()

    def _settle(self) -> None:
        """Everything must come to its end by itself, and no round may take longer than its deadline and some grace."""
        self._progress = (len(self.oracle.rounds), self.agenda.now_s)
        grace_s = 2 * self.scenario.deadline_s + 60.0
        until_s = self.agenda.now_s + MAX_DEADLINES * self.scenario.deadline_s
        while self.agenda.now_s < until_s:
            if self._is_over():
                return
            self.agenda.step()
            rounds = (len(self.oracle.rounds), self.server.is_finished, sum(each.is_finished for each in self.clients))
            if rounds != self._progress[0]:
                self._progress = (rounds, self.agenda.now_s)  # type: ignore[assignment]
            if self.agenda.now_s - self._progress[1] > grace_s:
                raise Violation(f"I5: nothing has come to its end for {grace_s:.0f} s")
        raise Violation(f"I5: the job is not over after {MAX_DEADLINES} deadlines")

    def _is_over(self) -> bool:
        waits = (each for each in self.clients if each.name not in self.oracle.unreliable)
        return self.server.is_finished and self.server.is_up and all(each.is_finished for each in waits)

    def _gremlin(self) -> None:
        """Every few seconds something may happen that no action has to do with."""
        dice = self.dice
        self.agenda.after(dice.uniform(0.5, 8.0), self._gremlin)
        if not dice.chance(dice.rates.gremlin):
            return
        party = dice.pick((self.server, *self.clients))
        client_id = self._id_of(party)
        deeds = {
            "partition": partial(self.network.partition, client_id, dice.uniform(1.0, 100.0)),
            "cut": partial(self.network.sever, client_id, "connection reset"),
            "broker": self._kill_broker,
            "odd": self._odd,
            "odder": self._odd,
        }
        deed = dice.pick(sorted(deeds))
        if deed in ("partition", "cut"):
            self.story.tell("network", f"{deed} of %s", party.name)
        deeds[deed]()

    def _id_of(self, party: Party) -> str:
        if isinstance(party, Client):
            return party.keys.id.hex()
        return next((each for each, link in self.network.links.items() if getattr(link, "name", "") == party.name), "")

    def _kill_broker(self) -> None:
        if self.network.running:
            self.story.tell("broker", "dies and forgets everything")
            self.network.crash()
            self.agenda.after(self.dice.uniform(0.1, 20.0), self.network.restart)

    def _odd(self) -> None:
        """An old copy of a state directory, and a device that runs twice."""
        client = self.clients[-1]
        if self.scenario.odd == "restored":
            self._copy_or_restore(client)
        elif self.scenario.odd == "cloned" and len(self.clients) == self.scenario.devices:
            self._clone(client)

    def _clone(self, client: Client) -> None:
        """While it trains: both will then have an update of one round."""
        if len(self.clients) > self.scenario.devices or not self.dice.rates.gremlin:
            return
        if not client.is_training:
            self.agenda.after(0.2, partial(self._clone, client))
        else:
            root = self._directory / f"{client.name}-twin"
            shutil.copytree(client.root, root)
            self.disk.adopt(root)
            name = f"{client.name}-twin"
            train = honest(self.scenario.devices - 1, self.dice)
            self.oracle.unreliable.add(name)
            twin = Client(self, name, root, self.oracle, train, clock_off_s=0.0, stays=True)
            self.clients.append(twin)
            twin.start()

    def _copy_or_restore(self, client: Client) -> None:
        state, copy = client.root / "state", self._directory / "copy"
        if not state.exists():
            return
        if not copy.exists():
            self.story.tell(client.name, "its state is copied")
            shutil.copytree(state, copy)
        elif not client.is_retired:
            self.story.tell(client.name, "an old copy of its state is restored")
            if client.is_up:
                client.die(False)
            shutil.rmtree(state)
            shutil.copytree(copy, state)
            self.disk.adopt(client.root)

    def _close(self) -> None:
        self.active = None
        for party in (self.server, *self.clients):
            if party.is_up:
                party.is_up = False
                party._bury()
        while self.connections:
            self.connections.pop().close()
        self.disk.close()


def play(seed: int, **rates: float) -> World:
    """Run a seed, with other rates of faults where they are given.

    Raises:
        Violation: an invariant does not hold; the story is in its notes.
    """
    with tempfile.TemporaryDirectory(prefix="fedloom-faults-", dir=memory()) as directory:
        world = World(seed, Path(directory), rates)
        try:
            world.run()
        except Exception as error:
            error.add_note("\n".join(world.story.lines()))
            raise
    return world
