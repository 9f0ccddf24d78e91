"""When a synchronous round closes, and with whose updates: the rules of `aggregator.round.RoundState`, for all at once.

Answers are taken in the order of their times, and in one that is drawn where two come together. With a accepted and
r refused or declined ones among the k that have come, of n invited, the round closes at the first k where

    k = n   or   a ≥ target and a ≥ needed,   needed = max(fewest, ⌈quorum · min(target, n − r)⌉)

or at the deadline; and it is done if a ≥ needed then.
"""

from typing import NamedTuple

import numpy as np

from aggregator.records import Outcome
from aggregator.round import fewest_updates
from fedloom.job.rounds import Rounds
from fedloom.wire.messages import Phase
from simulation.world.draws import Mask, Numbers


class Closing(NamedTuple):
    """How a round ends."""

    outcome: Outcome
    seconds: float
    """From its opening."""
    spoke: Mask
    """(c,) whether a device has answered by then, whatever it said."""
    counted: Mask
    """(c,) whether its update is in the round."""


def close(answers_s: Numbers, ties: Numbers, refused: Mask, target: int, rounds: Rounds) -> Closing:
    """Of a training round: `answers_s` (c,) is when each of the invited answers, ∞ for never, and `ties` (c,) orders
    those that come together; `refused` (c,) says whose answer is no update that is admitted.
    """
    invited = len(answers_s)
    order = np.lexsort((ties, answers_s))
    order = order[answers_s[order] <= rounds.deadline_s]
    accepted = np.cumsum(~refused[order])
    able = invited - np.cumsum(refused[order])
    fewest = fewest_updates(Phase.TRAIN, rounds)
    needed = np.maximum(fewest, np.ceil(rounds.quorum * np.minimum(target, able) - 1e-9))
    may_close = (accepted >= target) & (accepted >= needed)
    if len(order) == invited and invited:
        may_close[-1] = True
    closes = np.flatnonzero(may_close)
    came = int(closes[0]) + 1 if closes.size else len(order)
    spoke = np.zeros(invited, np.bool_)
    spoke[order[:came]] = True
    seconds = float(answers_s[order[came - 1]]) if closes.size else rounds.deadline_s
    is_enough = bool(came and accepted[came - 1] >= needed[came - 1])
    return Closing("done" if is_enough else "aborted", seconds, spoke, spoke & ~refused)
