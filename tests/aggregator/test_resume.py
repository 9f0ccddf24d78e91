"""A strategy that remembers: killed between any two steps, the next process makes the same models and states."""

import sqlite3
from contextlib import closing, contextmanager

import pytest
from moments import MomentsStrategy

import strategies
from aggregator import events as ev
from aggregator.archive import Archive
from aggregator.registry import Registry
from aggregator.spool import Spool
from aggregator.states import States
from aggregator.store import Store
from fedloom.errors import StoreError

pytestmark = pytest.mark.slow

ROUNDS = 4
STEPS = (
    (Spool, "append"),
    (Store, "add_answers"),
    (Archive, "fuse"),
    (Registry, "save"),
    (States, "save"),
    (Store, "turn"),
    (Store, "forget"),
    (States, "prune"),
    (Spool, "prune"),
    (Registry, "prune"),
)
"""All that the worker thread does to the disk in a round."""


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(autouse=True)
def moments(monkeypatch):
    monkeypatch.setitem(strategies.registry.WHOLE, "moments", MomentsStrategy)


@pytest.fixture
def make_stateful(make_rig, tmp_path):
    def make(name):
        rig = make_rig(directory=tmp_path / name, count=ROUNDS)
        path = rig.config.job
        path.write_text(path.read_text() + '[strategy]\nname = "moments"\n')
        return rig

    return make


@contextmanager
def killed_at(monkeypatch, at):
    """Kill in the `at`-th pause, where one is before and one is after each step; says how many there were."""
    count = [0]

    def pause():
        count[0] += 1
        if count[0] == at:
            raise Killed

    with monkeypatch.context() as patch:
        for kind, name in STEPS:
            original = getattr(kind, name)

            def step(self, *args, _original=original, **kwargs):
                pause()
                result = _original(self, *args, **kwargs)
                pause()
                return result

            patch.setattr(kind, name, step)
        yield count


def run(rig):
    rig.boot()
    rig.ready()
    rig.work()
    rig.finish_job()


def made(rig):
    """Hashes of all models, and of all states, in their order."""
    with closing(sqlite3.connect(rig.state / "aggregator.db")) as connection:
        models = connection.execute("select version, hash from models order by version").fetchall()
        states = connection.execute(
            "select round, strategy_state from rounds where status = 'done' and phase = 'train' order by round"
        ).fetchall()
    return models, states


def test_killed_before_or_after_each_step_the_models_and_states_are_the_same(make_stateful, monkeypatch):
    undisturbed = make_stateful("undisturbed")
    with killed_at(monkeypatch, 0) as count:
        run(undisturbed)
    expected = made(undisturbed)
    assert len(expected[0]) == ROUNDS + 1
    assert len({state for _, state in expected[1]}) == ROUNDS
    per_round = count[0] // (ROUNDS + 1)
    for at in range(2 * per_round, 3 * per_round + 1):  # the third round: there is a state before it, and one after
        rig = make_stateful(f"at-{at}")
        with killed_at(monkeypatch, at):
            try:
                run(rig)
            except Killed:
                rig.crash()
        rig.finished = False
        run(rig)
        rig.crash()
        rig.parts = None
        assert made(rig) == expected, f"killed at {at}"


def test_an_aborted_attempt_forgets_nothing(make_stateful, monkeypatch):
    calm, troubled = make_stateful("calm"), make_stateful("troubled")
    run(calm)
    troubled.boot()
    troubled.ready()
    troubled.work()
    troubled.answer_all()
    troubled.now_s += 61
    troubled.handle(ev.Tick())
    troubled.work()
    troubled.crash()
    run(troubled)
    assert made(troubled) == made(calm)


def test_a_state_lies_beside_the_models_and_not_in_the_database(make_stateful):
    rig = make_stateful("here")
    run(rig)
    (digest,) = {state for _, state in made(rig)[1][-1:]}
    state = States(rig.state / "models" / "line").load(digest)
    assert len(state) > 2 * 8 * 4
    rig.crash()
    assert not any(state[-32:] in file.read_bytes() for file in rig.state.glob("aggregator.db*"))


def test_states_are_kept_as_long_as_the_updates_of_their_rounds(make_stateful, replace):
    rig = make_stateful("short")
    rig.config = replace(
        rig.config, config=replace(rig.config.config, retention=replace(rig.config.config.retention, rounds=1))
    )
    run(rig)
    kept = {path.name for path in (rig.state / "models" / "line").glob("*.state")}
    states = [state for _, state in made(rig)[1]]
    assert f"{states[-1].hex()}.state" in kept
    assert f"{states[0].hex()}.state" not in kept


def test_a_damaged_state_is_recomputed(make_stateful, caplog):
    calm, rig = make_stateful("calm"), make_stateful("damaged")
    run(calm)
    rig.boot()
    rig.ready()
    rig.work()
    rig.answer_all()
    rig.answer_all()
    rig.crash()
    path = States(rig.state / "models" / "line").path(made(rig)[1][-1][1])
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    run(rig)
    assert "strategy_state.recomputed" in caplog.text
    assert path.with_name(f"{path.name}.damaged-1").exists()
    assert made(rig) == made(calm)


def test_a_damaged_state_without_its_updates_stops_the_start(make_stateful):
    rig = make_stateful("lost")
    rig.boot()
    rig.ready()
    rig.work()
    rig.answer_all()
    rig.crash()
    States(rig.state / "models" / "line").path(made(rig)[1][-1][1]).unlink()
    for segment in rig.state.rglob("*.spool"):
        segment.unlink()
    with pytest.raises(StoreError, match=r"retention\.rounds.*fedloom aggregator restore"):
        rig.boot()
