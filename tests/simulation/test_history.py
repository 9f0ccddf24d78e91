"""A run's history: the same for every engine, and what is asked of it."""

import math
import sys
from collections.abc import Callable

import pytest

from aggregator.notices import AnyNotice, Done, Ready, RoundClosed
from fedloom.errors import InputError
from fedloom.wire.messages import Phase
from simulation import plots
from simulation.history import Best, History, record


def closed(number: int, accuracy: float | None, phase: Phase = Phase.TRAIN, outcome: str = "done") -> RoundClosed:
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    return RoundClosed(number, 1, phase, outcome, "late", 3, 0, 0, 0.02, metrics, 0.1, 3000, 0)  # type: ignore[arg-type]


RUN: list[AnyNotice] = [
    Ready(3, 3),
    closed(0, None, Phase.STATISTICS),
    closed(1, 0.1),
    closed(2, 0.1, outcome="aborted"),
    closed(2, 0.7),
    closed(3, 0.9, Phase.EVALUATE),
    Done("digits", 2, "v3.fedloom", {"accuracy": 0.9}),
]


@pytest.fixture
def history() -> History:
    """Three rounds, of which the second was not measured; the third model is worse than the second."""
    history = History(job="digits", engine="cohort", clients={"accuracy": [0.5, 1.0]})
    history.measured(0, {"accuracy": 0.1, "loss": 3.0})
    for seconds in (0.5, 0.25, 0.25):
        history.trained(updates=4, seconds=seconds, update_bytes=1000, simulated_s=3600.0)
    history.measured(1, {"accuracy": 0.5, "loss": 2.0})
    history.measured(3, {"accuracy": 0.4, "loss": 2.5, "test_accuracy": 0.3})
    return history


def test_an_aggregator_s_notices_give_a_round_s_figures_to_the_model_that_it_measured() -> None:
    history = History()
    assert list(record(RUN, history)) == RUN
    assert (history.rounds, history.series("accuracy")) == ([0, 1, 2], [0.1, 0.7, 0.9])
    assert (history.updates, history.update_bytes, history.seconds) == ([3, 3], [3000, 6000], [0.02, 0.04])
    assert (history.job, history.model_path) == ("digits", "v3.fedloom")


def test_a_figure_is_nan_where_it_was_not_measured(history: History) -> None:
    assert history.series("accuracy") == [0.1, 0.5, 0.4]
    assert history.series("test_accuracy") == pytest.approx([math.nan, math.nan, 0.3], nan_ok=True)
    assert history.headline == "test_accuracy"
    with pytest.raises(InputError, match=r"digits: acuracy: was not measured; did you mean 'accuracy'\?"):
        history.series("acuracy")


def test_costs_add_up_over_the_rounds_that_were_not_measured_too(history: History) -> None:
    assert history.spent("rounds") == [0, 1, 3]
    assert history.spent("update_bytes") == [0, 1000, 3000]
    assert history.spent("seconds") == [0, 0.5, 1.0]
    with pytest.raises(InputError, match=r"energy_j: is not known .* choose from rounds, seconds, update_bytes, simul"):
        history.spent("energy_j")


def test_the_best_model_is_the_first_of_the_best(history: History) -> None:
    assert history.best("accuracy") == Best(1, 0.5)
    assert history.best("loss") == Best(1, 2.0)
    assert history.best("test_accuracy") == Best(3, 0.3)


@pytest.mark.parametrize(
    ("values", "target", "rounds"),
    [
        ([0.1, 0.5, 0.9], 0.5, 1.0),
        ([0.1, 0.5, 0.9], 0.6, 1.25),
        ([0.1, 0.5, 0.3, 0.9], 0.7, 2.5),  # from 0.5, the best until then, at round 2
        ([0.6, 0.5], 0.5, 0.0),
        ([math.nan, 0.2, math.nan, 0.6], 0.4, 2.5),  # from round 2, which repeats the best: as the paper has it
        ([0.1, 0.5], 0.6, None),
        ([], 0.6, None),
    ],
)
def test_rounds_to_a_target_are_interpolated_on_the_best_so_far(values, target, rounds) -> None:
    history = History()
    for number, value in enumerate(values):
        history.measured(number, {"accuracy": value, "loss": 1 - value})
    if values:
        assert history.rounds_to("accuracy", target) == pytest.approx(rounds)
        assert history.rounds_to("loss", 1 - target) == pytest.approx(rounds)


def test_what_it_costs_to_reach_a_target(history: History) -> None:
    assert history.rounds_to("accuracy", 0.3, "update_bytes") == pytest.approx(500)
    assert history.rounds_to("accuracy", 0.3, "simulated_s") == pytest.approx(1800)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run: run.series(3), "digits: 3: was not measured; choose from accuracy, loss, test_accuracy"),
        (lambda run: run.best("acuracy"), "acuracy: was not measured; did you mean 'accuracy'?"),
        (lambda run: run.spent("update_byte"), "axis: 'update_byte' is not one; did you mean 'update_bytes'?"),
        (lambda run: run.knows("hours"), "axis: 'hours' is not one; choose from rounds, seconds, update_bytes, model"),
        (lambda run: run.rounds_to("accuracy", 0.3, "bytes"), "axis: 'bytes' is not one; did you mean 'model_bytes'?"),
        (lambda run: run.rounds_to("accuracy", "0.3"), "value: '0.3' is no number to reach; give one of accuracy's"),
        (lambda run: run.rounds_to("accuracy", math.nan), "value: nan is no number to reach"),
        (lambda run: run.plot("acuracy"), "acuracy: was not measured; did you mean 'accuracy'?"),
        (lambda run: run.plot(against="energy"), "axis: 'energy' is not one; did you mean 'energy_j'?"),
        (lambda run: History().plot(), "was not measured; choose from nothing"),
    ],
)
def test_what_a_run_does_not_know_is_told_with_what_it_does(
    history: History, ask: Callable[[History], object], said: str
) -> None:
    with pytest.raises(InputError) as raised:
        ask(history)
    assert said in str(raised.value)


def test_json_and_back_gives_the_same_and_keeps_what_is_not_finite_as_nan(history: History) -> None:
    history.metrics[1]["loss"] = math.inf
    again = History.from_json(history.to_json())
    assert math.isnan(again.metrics[1].pop("loss"))
    del history.metrics[1]["loss"]
    assert again == history
    for text in ("{", "[]", '{"rounds": ["one"]}', '{"rounds": [0], "metrics": []}', 3):
        with pytest.raises(InputError, match="cannot be read"):
            History.from_json(text)


def test_the_table_has_every_figure_and_every_known_cost(history: History) -> None:
    columns = history.columns()
    assert list(columns) == ["round", "accuracy", "loss", "test_accuracy", "seconds", "update_bytes", "simulated_s"]
    assert {len(column) for column in columns.values()} == {3}


def test_pandas_shows_the_table_and_is_asked_for_where_it_is_missing(history: History, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="to_pandas: pandas is not installed; run: pip install 'pandas'"):
        history.to_pandas()
    monkeypatch.undo()
    pytest.importorskip("pandas")
    frame = history.to_pandas()
    assert list(frame.index) == [0, 1, 3]
    assert frame.loc[3, "update_bytes"] == 3000


def test_a_plot_has_a_line_a_figure_and_no_ground(history: History) -> None:
    figure = history.plot("accuracy", "loss", against="update_bytes")
    axes = figure.axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.1, 0.5, 0.4], [3.0, 2.0, 2.5]]
    assert list(axes.lines[0].get_xdata()) == [0, 1, 3]
    assert axes.get_xlabel() == "updates sent, kB"
    assert history.plot().axes[0].get_ylabel() == "test_accuracy"
    text = plots.svg(figure)
    assert "currentColor" in text
    assert not any(colour in text for colour in ("#000000", "#ffffff", plots.INK))
    assert plots.svg(history.plot("accuracy", "loss", against="update_bytes")) == text
