"""The other backends against numpy's, which is compared with a device in test_trainer.py."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from some_cohorts import PLANS, RAGGED, cohort

from fedloom.errors import FedloomError
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.compiled.sparse import pool_of
from simulation.cohort.kernels import Backend
from simulation.cohort.shards import Shards
from simulation.cohort.trainer import CohortFit, CohortTrainer


def fits(
    spec: ModelSpec, plan: TrainPlan, start: np.ndarray, shards: Shards, backend: Backend, **given: np.ndarray | None
) -> tuple[CohortFit, CohortFit]:
    one, other = (
        CohortTrainer(spec, plan, np.float64, each).fit(start, shards, np.random.default_rng(3), **given)
        for each in ("numpy", backend)
    )
    return one, other


def assert_alike(one: CohortFit, other: CohortFit) -> None:
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "adam"])
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_all_train_as_numpy_does(backend: Backend, name: str, optimiser: str, activation: str) -> None:
    common = {"loss": "cross_entropy", "batch_size": 4, "local_epochs": 3, "learning_rate": 0.03}
    plan = TrainPlan(**common | PLANS[name] | {"optimiser": optimiser})  # type: ignore[arg-type]
    spec = ModelSpec(inputs=12, outputs=3, hidden=(6, 5), activation=activation, dropout=0.2)  # type: ignore[arg-type]
    shards, _, start = cohort(spec, plan, RAGGED[:5])
    linear = 0.1 * np.ones_like(start) if plan.correction != "none" else None
    assert_alike(*fits(spec, plan, start, shards, backend, linear=linear))


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_binary_classes(backend: Backend) -> None:
    spec, plan = ModelSpec(inputs=4, outputs=1), TrainPlan(loss="binary_cross_entropy", batch_size=3)
    shards, _, start = cohort(spec, TrainPlan(loss="mse"), (7, 9))
    shards = shards._replace(targets=(shards.targets > 0).astype(float))
    assert_alike(*fits(spec, plan, start, shards, backend))


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_clients_begin_where_they_are_and_are_pulled_to_an_anchor(backend: Backend) -> None:
    spec, plan = ModelSpec(inputs=5, outputs=2, hidden=(4,)), TrainPlan(loss="mse", proximal_mu=0.3, batch_size=3)
    shards, _, start = cohort(spec, plan, RAGGED, own_starts=True)
    assert_alike(*fits(spec, plan, start, shards, backend, anchor=0.1 * np.ones(start.shape[1])))


widths = st.integers(1, 40)


@given(
    inputs=widths,
    outputs=widths,
    hidden=st.lists(widths, max_size=2),
    batch=st.integers(0, 40),
    optimiser=st.sampled_from(["sgd", "momentum"]),
    sizes=st.lists(st.integers(0, 45), min_size=1, max_size=4).filter(any),
)
@settings(max_examples=60)
def test_compiled_products_are_right_for_every_shape(
    inputs: int, outputs: int, hidden: list[int], batch: int, optimiser: str, sizes: list[int]
) -> None:
    spec = ModelSpec(inputs=inputs, outputs=outputs, hidden=tuple(hidden))
    plan = TrainPlan(loss="mse", batch_size=batch, learning_rate=0.001, optimiser=optimiser, local_epochs=2)  # type: ignore[arg-type]
    shards, _, start = cohort(spec, plan, tuple(sizes))
    assert_alike(*fits(spec, plan, start, shards, "numba"))


@pytest.mark.parametrize("hidden", [(), (30,), (250,)])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_inputs_that_are_mostly_zero(hidden: tuple[int, ...], optimiser: str) -> None:
    spec = ModelSpec(inputs=300, outputs=3, hidden=hidden)
    plan = TrainPlan(loss="cross_entropy", batch_size=4, local_epochs=2, optimiser=optimiser)  # type: ignore[arg-type]
    shards, _, start = cohort(spec, plan, RAGGED)
    rng = np.random.default_rng(4)
    shards.x[rng.random(shards.x.shape) < 0.8] = 0.0
    shards.x[5] = 0.0
    shards.x[:, 200:] = 0.0
    assert len(pool_of(shards).values) == np.count_nonzero(shards.x)
    assert_alike(*fits(spec, plan, start, shards, "numba"))


def test_what_a_diverging_client_leaves_behind_harms_nobody_later() -> None:
    spec = ModelSpec(inputs=3, outputs=1, hidden=(3,))
    plan = TrainPlan(loss="mse", batch_size=2, local_epochs=60, optimiser="momentum", clip_norm=1e9)
    shards, _, start = cohort(spec, plan, (8, 8, 8))
    ill = shards._replace(x=shards.x.copy())
    ill.x[shards.rows[8:16]] *= 1e200
    trainer = CohortTrainer(spec, plan, np.float64, "numba")
    fit = trainer.fit(start, ill, np.random.default_rng(1))
    assert fit.diverged.tolist() == [False, True, False]
    again, fresh = (
        each.fit(start, shards, np.random.default_rng(1)).deltas
        for each in (trainer, CohortTrainer(spec, plan, np.float64, "numba"))
    )
    np.testing.assert_array_equal(again, fresh)
    np.testing.assert_array_equal(again[[0, 2]], fit.deltas[[0, 2]])


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_float32_is_as_exact_as_numpys(optimiser: str) -> None:
    spec = ModelSpec(inputs=300, outputs=10, hidden=(40,))
    plan = TrainPlan(loss="cross_entropy", batch_size=10, optimiser=optimiser, beta2=0.99999, epsilon=0.1)  # type: ignore[arg-type]
    shards, _, start = cohort(spec, plan, (50, 50))
    exact, _ = fits(spec, plan, start, shards, "numpy")
    narrow = shards._replace(x=shards.x.astype(np.float32), targets=shards.targets.astype(np.float32))
    for backend in ("numpy", "numba"):
        rng = np.random.default_rng(3)
        fit = CohortTrainer(spec, plan, np.float32, backend).fit(start.astype(np.float32), narrow, rng)
        np.testing.assert_allclose(fit.deltas, exact.deltas, atol=1e-5 * np.abs(exact.deltas).max())


def test_it_is_compiled_once_whether_samples_may_be_written_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two compilations might add in another order: a worker's samples are read-only, those of one process are not."""
    numba, walker = pytest.importorskip("numba"), pytest.importorskip("simulation.cohort.compiled.walker")
    taken = []
    monkeypatch.setattr(walker, "train", lambda *given: taken.append([numba.typeof(each) for each in given]))
    spec, plan = ModelSpec(inputs=4, outputs=2), TrainPlan(loss="mse", batch_size=3)
    shards, _, start = cohort(spec, plan, (5, 5))
    for is_writeable in (True, False):
        shards.x.flags.writeable = shards.targets.flags.writeable = is_writeable
        CohortTrainer(spec, plan, np.float64, "numba").fit(start, shards, np.random.default_rng(1))
    assert taken[0] == taken[1]


@pytest.mark.parametrize(("backend", "package"), [("numba", "numba"), ("torch", "torch")])
def test_a_backend_that_is_not_installed(backend: Backend, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("simulation.cohort.compiled")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(FedloomError, match=f"the backend '{backend}'.*pip install 'fedloom"):
        CohortTrainer(ModelSpec(inputs=2, outputs=1), TrainPlan(loss="mse"), backend=backend)
