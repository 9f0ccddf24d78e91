"""What happened in a run, whichever engine ran it."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import msgspec
import numpy as np

from aggregator.notices import AnyNotice, Done, RoundClosed
from fedloom.errors import InputError
from fedloom.learning.metrics import lower_is_better
from fedloom.suggest import closest
from fedloom.wire.messages import Phase
from simulation.choice import check_choice
from simulation.curves import crossing
from simulation.extras import require
from simulation.world.summary import Attempt

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

Cost = Literal["seconds", "update_bytes", "model_bytes", "simulated_s", "energy_j"]
"""What a training round costs; sums over rounds."""
Axis = Literal["rounds", Cost]
"""What a figure can be set against."""

HEADLINES = ("accuracy", "r2", "auc", "mse", "loss")
"""The figures that people look at first, in this order."""
TEST = "test_"
"""Before the name of a figure of samples that no client has."""


class Best(NamedTuple):
    """The best model of a run, by one figure."""

    round: int
    value: float


class History(msgspec.Struct):
    """A run, round by round; `metrics[i]` are of the model that round `rounds[i]` fused, 0 being the start.

    The lists of costs have one entry for each training round, from the first; one that the engine does not know is
    empty.
    """

    job: str = ""
    """The job's name."""
    engine: str = ""
    rounds: list[int] = []
    """Rounds whose model was measured."""
    metrics: list[dict[str, float]] = []
    """`accuracy`, `loss` and their like are of the devices' hold-outs, `test_…` of samples that no device has."""
    seconds: list[float] = []
    """Of the wall clock; as all costs, those of a round's attempts that made no model included."""
    update_bytes: list[int] = []
    """Of all updates that devices sent, as encoded; with engine `processes` sealed, too."""
    model_bytes: list[int] = []
    """Of all models that were sent to devices."""
    simulated_s: list[float] = []
    """Of the simulated clock."""
    energy_j: list[float] = []
    """Of all devices, simulated; joules."""
    updates: list[int] = []
    """How many updates were fused."""
    attempts: list[list[Attempt]] = []
    """What each training round took on the virtual clock: the attempts that came to nothing, and last the one that was
    done. Empty where there is no such clock."""
    clients: dict[str, list[float]] = {}
    """Figures of the last model by client, of those that evaluated it: name to one value a client."""
    model_path: str = ""
    """Where the final model was saved; empty if it was not."""

    def measured(self, round_number: int, metrics: dict[str, float]) -> None:
        """Take in the figures of the model that this round fused."""
        self.rounds.append(round_number)
        self.metrics.append(dict(metrics))

    def trained(
        self,
        *,
        updates: int,
        seconds: float,
        update_bytes: int,
        model_bytes: int | None = None,
        simulated_s: float | None = None,
        energy_j: float | None = None,
    ) -> None:
        """Take in what a training round, the next one, has cost; None is not known."""
        self.updates.append(updates)
        self.seconds.append(seconds)
        self.update_bytes.append(update_bytes)
        if model_bytes is not None:
            self.model_bytes.append(model_bytes)
        if simulated_s is not None:
            self.simulated_s.append(simulated_s)
        if energy_j is not None:
            self.energy_j.append(energy_j)

    def lived(self, *, updates: int, seconds: float, attempts: Sequence[Attempt]) -> None:
        """Take in what a training round, the next one, has cost on the virtual clock and on the wall's."""
        began_s = self.attempts[-1][-1].closed_s if self.attempts else 0.0
        costs = [each.cost for each in attempts]
        self.trained(
            updates=updates,
            seconds=seconds,
            update_bytes=round(sum(each.up_bytes for each in costs)),
            model_bytes=round(sum(each.down_bytes for each in costs)),
            simulated_s=attempts[-1].closed_s - began_s,
            energy_j=sum(each.joules for each in costs),
        )
        self.attempts.append(list(attempts))

    @property
    def _where(self) -> str:
        return f"the run of {self.job or 'a job'}"

    def figures(self) -> list[str]:
        """Names of what was measured, in the order in which it came."""
        return list(dict.fromkeys(name for metrics in self.metrics for name in metrics))

    @property
    def headline(self) -> str:
        """The figure that people look at first, if there is one: of samples that no device has, if measured."""
        known = self.figures()
        wanted = (prefix + name for name in HEADLINES for prefix in (TEST, ""))
        return next((name for name in wanted if name in known), "")

    def series(self, figure: str) -> list[float]:
        """One figure of each of `rounds`; NaN where it was not measured.

        Raises:
            InputError: it never was.
        """
        known = self.figures()
        if figure not in known:
            close = closest(str(figure), known)
            remedy = f"did you mean '{close}'?" if close else f"choose from {', '.join(known) or 'nothing'}"
            raise InputError(self._where, str(figure), "was not measured", remedy)
        return [metrics.get(figure, math.nan) for metrics in self.metrics]

    def knows(self, axis: Axis) -> bool:
        """Whether this cost is known of every round that was measured.

        Raises:
            InputError: there is no such cost.
        """
        check_choice(self._where, "axis", axis, ("rounds", *get_args(Cost)))
        return axis == "rounds" or len(getattr(self, axis)) >= max(self.rounds, default=1)

    def spent(self, axis: Axis) -> list[float]:
        """What the run had cost when each of `rounds` was over.

        Raises:
            InputError: the engine does not know this cost.
        """
        if axis == "rounds":
            return [float(number) for number in self.rounds]
        if not self.knows(axis):
            known = [name for name in get_args(Cost) if self.knows(name)]
            problem = f"is not known of a run with engine {self.engine or 'processes'}"
            raise InputError(self._where, axis, problem, f"choose from rounds, {', '.join(known)}")
        costs: Sequence[float] = getattr(self, axis)
        total = [0.0, *itertools.accumulate(map(float, costs))]
        return [total[number] for number in self.rounds]

    def best(self, figure: str) -> Best:
        """The best value that a figure had, and the first round whose model had it."""
        sign = -1.0 if lower_is_better(figure) else 1.0
        found = [Best(*pair) for pair in zip(self.rounds, self.series(figure), strict=True) if not math.isnan(pair[1])]
        return max(found, key=lambda best: sign * best.value, default=Best(0, math.nan))

    def rounds_to(self, figure: str, value: float, axis: Axis = "rounds") -> float | None:
        """Rounds, or another cost, until a figure reaches `value` (McMahan et al. 2017: the best so far, interpolated).

        None if it never does.

        Raises:
            InputError: the figure was not measured, the cost is not known, or the value is no number.
        """
        if not _is_number(value):
            raise InputError(self._where, "value", f"{value!r} is no number to reach", f"give one of {figure}'s")
        return crossing(self.spent(axis), self.series(figure), figure, value)

    def columns(self) -> dict[str, list[float]]:
        """A table with a row for each of `rounds`: the round, every figure, and every cost that is known."""
        table = {"round": self.spent("rounds")} | {name: self.series(name) for name in self.figures()}
        return table | {name: self.spent(name) for name in get_args(Cost) if self.knows(name)}

    def plot(self, *figures: str, against: Axis = "rounds") -> "Figure":
        """Figures (if none are named, the headline) against rounds or a cost.

        Raises:
            InputError: a figure was not measured, a cost is not known, or matplotlib is not installed.
        """
        require("matplotlib", "History.plot", "fedloom[sim]")
        from simulation import plots  # takes half a second, and not every run is drawn

        return plots.run_curves(self, figures or (self.headline,), against)

    def to_pandas(self) -> "DataFrame":
        """`columns` as a data frame, by round.

        Raises:
            InputError: pandas is not installed.
        """
        require("pandas", "History.to_pandas", "pandas")
        import pandas as pd

        return pd.DataFrame(self.columns()).astype({"round": int}).set_index("round")

    def to_json(self) -> bytes:
        """As JSON; what is not finite becomes null."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> "History":
        """What `to_json` wrote.

        Raises:
            InputError: it is something else.
        """
        try:
            tree = msgspec.json.decode(text)
            if isinstance(tree, dict):
                for name in ("metrics", "clients"):
                    tree[name] = _with_nan(tree.get(name))
            read = msgspec.convert(tree, cls)
        except (msgspec.MsgspecError, TypeError) as error:
            raise _unreadable(str(error)) from None
        if len(read.rounds) != len(read.metrics):
            raise _unreadable(f"{len(read.rounds)} rounds, and figures of {len(read.metrics)}")
        return read


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not math.isnan(value)


def _unreadable(why: str) -> InputError:
    return InputError("the history of a run", "", f"cannot be read ({why})", "run the job again")


class Tries:
    """Enters training rounds into a history; what attempts cost that make no model is in the next that does."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._begin()

    def _begin(self) -> None:
        self._seconds, self._update_bytes, self._model_bytes = 0.0, 0, 0
        self._attempts: list[Attempt] = []

    def over(
        self,
        updates: int | None,
        *,
        seconds: float,
        update_bytes: int,
        model_bytes: int | None = None,
        attempts: Sequence[Attempt] = (),
    ) -> None:
        """An attempt is; so many updates were fused, None: there is no model. Where there is a virtual clock,
        `attempts` says what it took on that, which may be several.
        """
        self._seconds += seconds
        self._update_bytes += update_bytes
        self._model_bytes += model_bytes or 0
        self._attempts += attempts
        if updates is None:
            return
        if self._attempts:
            self._history.lived(updates=updates, seconds=self._seconds, attempts=self._attempts)
        else:
            sent = None if model_bytes is None else self._model_bytes
            self._history.trained(
                updates=updates, seconds=self._seconds, update_bytes=self._update_bytes, model_bytes=sent
            )
        self._begin()


def record(notices: Iterable[AnyNotice], history: History) -> Iterator[AnyNotice]:
    """Pass the notices of an aggregator on and keep what matters in `history`."""
    tries = Tries(history)
    for notice in notices:
        if isinstance(notice, RoundClosed):
            is_done = notice.outcome == "done"
            if notice.phase is Phase.TRAIN:
                updates = notice.accepted if is_done else None
                tries.over(updates, seconds=notice.seconds, update_bytes=notice.bytes)
            if notice.metrics and is_done:  # they are of the model that this round started from
                history.measured(notice.round - 1, notice.metrics)
        elif isinstance(notice, Done):
            history.job, history.model_path = notice.job, notice.model
        yield notice


def _with_nan(node: object) -> object:
    """JSON's null is a number that was not finite."""
    if isinstance(node, dict):
        return {key: _with_nan(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_nan(value) for value in node]
    return math.nan if node is None else node
