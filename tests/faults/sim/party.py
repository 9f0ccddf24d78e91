"""A process: it may die between any two of its steps, and is started again."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from fedloom.errors import FedloomError, StoreError
from sim.agenda import Agenda, Story
from sim.dice import Dice
from sim.disk import Disk
from sim.network import Network


class Killed(BaseException):
    """SIGKILL: nothing of the process runs any more, not even `except Exception`."""


class Stage(Protocol):
    """What parties share."""

    agenda: Agenda
    story: Story
    dice: Dice
    disk: Disk
    network: Network
    active: "Party | None"
    """Whose code runs now."""
    connections: list[sqlite3.Connection]
    """Of the process that runs on the database."""


class Party:
    """Whatever `_boot` builds up is gone when the process dies; `root` is its machine's disk."""

    def __init__(self, stage: Stage, name: str, root: Path) -> None:
        self.stage = stage
        self.name = name
        self.root = root
        self.is_up = False
        self.is_retired = False
        """It is not started again."""
        self._life = 0

    def start(self) -> None:
        """Start the process, unless it runs."""
        if not self.is_up and not self.is_retired:
            self.is_up = True
            self._life += 1
            self.stage.story.tell(self.name, "starts")
            self.run(self._boot)

    def run(self, work: Callable[[], None]) -> None:
        """A step of this process: it may be the last."""
        before, self.stage.active = self.stage.active, self
        try:
            work()
        except Killed as killed:
            self.stage.story.tell(self.name, "is killed %s", killed)
            self.die(self.stage.dice.chance(self.stage.dice.rates.power))
        except StoreError as error:
            self._failed(error)
            self.stage.story.tell(self.name, "stops: %s", error)
            self.die(False)
        finally:
            self.stage.active = before

    def die(self, is_power_cut: bool) -> None:
        """The process is gone; with its machine's power, so is what was not fsynced. It is started again, later."""
        self.is_up = False
        self._life += 1
        self._bury()
        if is_power_cut:
            lost = self.stage.disk.power_cut(self.root)
            self.stage.story.tell(self.name, "loses its power%s", ": " + ", ".join(lost) if lost else "")
        self.stage.agenda.after(self.stage.dice.uniform(0.1, 20.0), self.start)

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        """Do something after a while, unless the process is gone by then."""
        self.stage.agenda.after(delay_s, partial(self._if_alive, self._life, work))

    def _if_alive(self, life: int, work: Callable[[], None]) -> None:
        if life == self._life and self.is_up:
            self.run(work)

    def may_die(self, place: str) -> None:
        """Here the process may be killed."""
        dice = self.stage.dice
        if dice.serious(dice.rates.kill):
            raise Killed(place)

    def _boot(self) -> None:
        raise NotImplementedError

    def _bury(self) -> None:
        raise NotImplementedError

    def _failed(self, error: FedloomError) -> None:
        """It stops because of this."""


@contextmanager
def unfailing(stage: Stage) -> Iterator[None]:
    """What an oracle looks at does not break under its eyes."""
    before, stage.active = stage.active, None
    try:
        yield
    finally:
        stage.active = before
