"""Does the runs of a comparison that were not done before, and groups what is repeated."""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fedloom.sweep import Settings, shown
from simulation.compare.cache import Cache, key_of
from simulation.compare.plan import Run
from simulation.compare.pool import Work, run_all
from simulation.history import History


class Outcome(NamedTuple):
    """A run that is over."""

    run: Run
    history: History | None
    """None: it failed."""
    problem: str
    seconds: float
    """That it took; 0 of one that was done before."""
    was_known: bool = False


class Group(NamedTuple):
    """Runs that differ in their seed alone."""

    job: str
    settings: Settings
    """Without the seed."""
    outcomes: list[Outcome]

    @property
    def histories(self) -> list[History]:
        """Of those that did not fail."""
        return [outcome.history for outcome in self.outcomes if outcome.history]

    @property
    def seeds(self) -> list[int]:
        """Of those that did not fail."""
        return [outcome.run.job.seed for outcome in self.outcomes if outcome.history]


class Comparison(NamedTuple):
    """What was found."""

    groups: list[Group]
    """In the order of the jobs and their sweeps."""
    left_out: int
    """Runs that were not done, as somebody interrupted them."""

    @property
    def failures(self) -> list[Outcome]:
        """Runs that failed."""
        return [outcome for group in self.groups for outcome in group.outcomes if outcome.history is None]


def compare(
    runs: Sequence[Run], work: Work, workers: int, known: Cache | None, tell: Callable[[Outcome], None]
) -> Comparison:
    """Do the runs, telling each one's outcome; those that `known` has are not done again, and the others are put there.

    At Ctrl-C, what is done so far is what there is.

    Raises:
        InputError: the data of a run is missing.
    """
    keys = [key_of(run) for run in runs] if known else []
    found = [known.load(key) for key in keys] if known else [None] * len(runs)
    outcomes: dict[int, Outcome] = {}

    def over(place: int, outcome: Outcome) -> None:
        outcomes[place] = outcome
        tell(outcome)

    for place, history in enumerate(found):
        if history:
            over(place, Outcome(runs[place], history, "", 0.0, was_known=True))
    new = [place for place, history in enumerate(found) if history is None]
    replies = run_all([runs[place] for place in new], work, workers)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(replies):
        for index, reply in replies:
            place = new[index]
            if known and reply.history:
                known.store(keys[place], reply.history)
            history = History.from_json(reply.history) if reply.history else None
            over(place, Outcome(runs[place], history, reply.problem, reply.seconds))
    return Comparison(grouped([outcomes[place] for place in sorted(outcomes)]), len(runs) - len(outcomes))


def grouped(outcomes: Sequence[Outcome]) -> list[Group]:
    """By job and settings, in the order in which each came first."""
    groups: dict[tuple[str, ...], Group] = {}
    for outcome in outcomes:
        settings = {key: value for key, value in outcome.run.settings.items() if key != "seed"}
        name = outcome.run.job.name
        key = (name, *map(shown, settings.values()))
        groups.setdefault(key, Group(name, settings, [])).outcomes.append(outcome)
    return list(groups.values())
