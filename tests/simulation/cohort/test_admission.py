"""What counts of a round, and what is known of its clients, beside what an aggregator does."""

import numpy as np
import pytest
from federations import WHERE, job, parts, run

from aggregator.notices import RoundClosed
from fedloom.data.prepare import Prepared
from fedloom.errors import InputError
from fedloom.learning.dataset import Dataset
from fedloom.wire.messages import Phase
from simulation.cohort.choosing import PHASE_NUMBERS
from simulation.cohort.chunk import SALTS
from simulation.cohort.crew import OneHand
from simulation.cohort.federation import Federation, SimulationError
from simulation.cohort.preparing import standardiser_of
from simulation.cohort.round import Asked, Done
from simulation.cohort.standings import standings
from simulation.cohort.timetable import Entrants
from simulation.population.files import of_parts
from simulation.world.attackers import attackers_of
from simulation.world.door import Chosen

WHOLE = {"batch_size": 0}
"""Full batches: nothing depends on the order of samples."""
PERSONAL = [{}, {"personal": {"method": "head"}}, {"personal": {"method": "ditto", "epochs": 2}}]


def without_holdout(part: Prepared) -> Prepared:
    return part._replace(holdout=Dataset(part.holdout.x[:0], part.holdout.y[:0]))


@pytest.mark.parametrize("personal", PERSONAL, ids=["common", "head", "ditto"])
def test_of_clients_that_are_refused_nothing_counts(personal: dict[str, object]) -> None:
    tables = {"training": WHOLE, "data": {"standardise": False}, **personal}
    attacked = job(simulation={"attack": {"kind": "nan", "share": 0.34}}, **tables)
    liars = attackers_of(attacked.simulation, 6, attacked.seed).among(np.arange(6), 1)
    honest = [part for part, lies in zip(parts(), liars, strict=True) if not lies]
    with_liars, alone = run(attacked).history, run(job(**tables), of_parts(honest)).history
    assert (liars.sum(), len(honest)) == (2, 4)
    for found, expected in zip(with_liars.metrics[:-1], alone.metrics[:-1], strict=True):  # everybody ends the run
        assert found == pytest.approx(expected, rel=1e-5)


def test_updates_of_too_many_samples_are_refused() -> None:
    assert run(job(update={"max_samples": 10})).history.updates == [3] * 3  # of clients that have 8 to 13


@pytest.mark.parametrize("key", ["max_norm", "max_control_norm"])
def test_the_reason_names_the_bound(key: str) -> None:
    with pytest.raises(SimulationError, match=f"0 updates of 1 needed; 6 refused by update.{key}"):
        run(job(strategy={"name": "scaffold"}, update={key: 1e-9}))


def test_a_rule_that_looks_at_samples_knows_them_from_the_statistics() -> None:
    much = parts(2, samples=4000)
    people = of_parts([*map(without_holdout, parts(18)), *much])
    history = run(job(cohort={"name": "samples"}, rounds={"cohort": 0.1}), people).history
    assert history.rounds[:3] == [0, 1, 2]  # one of the two that can measure them was in each


def test_standings_tell_what_was_answered_and_keep_what_is_known_of_classes() -> None:
    people = of_parts([parts(1)[0], without_holdout(parts(1)[0])])
    asked, everybody = Asked(np.arange(2), np.ones(2, np.bool_)), np.ones(2, np.bool_)
    entrants = Entrants(asked.ids, asked.evaluates, np.array([4, 5]), Chosen(asked.ids, asked.evaluates, 2))
    zeros, counts = np.zeros((2, 0), np.float32), np.array([8, 8])
    losses, nothing = np.array([4.0, 2.0]), np.full(2, np.nan)
    none = None, None, None, None
    done = Done(zeros, counts, counts, losses, nothing, np.ones(2), everybody, (), zeros, *none, everybody, 0)
    first, second = standings(job(), people, entrants, asked, done, everybody)
    assert (first.answered, first.loss, sum(first.class_counts)) == (4, 0.5, 4)
    assert (second.answered, second.loss, second.class_counts) == (5, 0.25, ())


def test_who_has_no_hold_out_declines_to_evaluate() -> None:
    people = of_parts([*parts(4), *map(without_holdout, parts(2))])
    closed = [each for each in Federation(job(), WHERE, people, OneHand).run() if isinstance(each, RoundClosed)]
    assert [each.declined for each in closed if each.phase is Phase.TRAIN] == [0, 0, 0]
    (last,) = [each for each in closed if each.phase is Phase.EVALUATE]
    assert (last.outcome, last.accepted, last.declined) == ("done", 4, 2)


def test_features_that_are_not_finite_are_told_before_anybody_trains() -> None:
    people = of_parts(parts())
    people.pool.x[3, 1] = np.inf
    with pytest.raises(InputError, match=r"data\.features: their mean or deviation is not finite"):
        standardiser_of(people)


def test_the_numbers_that_draw_cohorts_shuffle_nobodys_samples() -> None:
    assert not {salt for (salt,) in filter(None, SALTS.values())} & set(PHASE_NUMBERS.values())
