"""A round's work on real files: reproducible, standardised, compensated; declined with the reason if it cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_client.events import Answer, Model, StoreOutbox, Trained, Work
from edge_client.training import Training
from fedloom import msgpack
from fedloom.compression import options_of
from fedloom.data.config import SourceConfig
from fedloom.data.prepare import prepare
from fedloom.learning.evaluate import evaluate
from fedloom.learning.metrics import Metrics
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Moments, Standardiser
from fedloom.wire.brief import open_brief
from fedloom.wire.encoding import decode
from fedloom.wire.envelope import parse
from fedloom.wire.messages import Manifest, Phase, Task, Verdict

SPEC = ModelSpec(inputs=2, outputs=2)
MakeWork = Callable[..., Work]


def never() -> bool:
    return False


@pytest.fixture
def source(tmp_path: Path) -> SourceConfig:
    rng = np.random.default_rng(1)
    rows = (
        f"{row // 20},{'ab'[row % 2]},{5 + row % 2 + rng.normal() / 4:.4f},{100 * rng.normal():.4f}\n"
        for row in range(100)
    )
    (tmp_path / "data.csv").write_text("recording,move,ax,ay\n" + "".join(rows))
    return SourceConfig(str(tmp_path / "data.csv"))


@pytest.fixture
def make_work(aggregator: Any, source: SourceConfig) -> MakeWork:
    """Work with a model of small weights; `standardiser` fits the data."""

    def make(
        phase: Phase = Phase.TRAIN, train: bool = True, evaluate: bool = True, residual: bytes = b"", **changes: Any
    ) -> Work:
        model = None if phase is Phase.STATISTICS else aggregator.model()
        blob = aggregator.manifest(phase, model, **changes)
        manifest = msgpack.decode(parse(blob, len(blob)).clear(), Manifest)
        manifest = msgspec.structs.replace(manifest, round=1, attempt=1)
        brief = open_brief(manifest.brief, aggregator.brief_key)
        x = prepare(source, brief.data, "cross_entropy", 0).train.x
        weights = np.linspace(-0.1, 0.1, SPEC.layout().size, dtype=np.float32)
        opened = model and Model(model.ref.plain_hash, weights, Moments.of(x).standardiser())
        task = Task(train, evaluate, aggregator.brief_key, b"")
        return Work(manifest, b"h" * 32, task, brief, opened or None, residual)

    return make


def train(source: SourceConfig, work: Work, residual: bytes = b"") -> Answer:
    answer = Training(source, b"D" * 16, lambda name: residual, lambda name: b"").run(work, never)
    assert answer is not None
    return answer


def delta(work: Work, answer: Answer) -> Any:
    out = np.empty(SPEC.layout().size, np.float32)
    decode(answer.update.vector, work.brief.encoding, out)
    return out


def corrected(make_work: MakeWork, correction: str, common: Any = None, **changes: Any) -> Work:
    """Work with a correction, and with the server's variate."""
    plan = TrainPlan(loss="cross_entropy", learning_rate=0.1, batch_size=8, correction=correction, **changes)  # type: ignore[arg-type]
    work = make_work(plan=plan)
    assert work.model is not None
    return work._replace(model=work.model._replace(control=common), control=b"c" * 32)


def variate(answer: Answer) -> Any:
    assert answer.control is not None
    return np.frombuffer(answer.control, "<f4")


@pytest.mark.parametrize("encoding", ["float32", "int8"])
def test_scaffold_sends_what_its_variate_advances_by(source: SourceConfig, make_work: MakeWork, encoding: Any) -> None:
    size = SPEC.layout().size
    own, common = np.linspace(-0.2, 0.3, size, dtype="<f4"), np.linspace(0.1, -0.1, size, dtype=np.float32)
    work = corrected(make_work, "scaffold", common)
    work = work._replace(brief=msgspec.structs.replace(work.brief, encoding=encoding))
    training = Training(source, b"D" * 16, lambda name: b"", {b"c" * 32: own.tobytes()}.__getitem__)
    answer = training.run(work, never)
    assert answer is not None
    change = np.empty(size, np.float32)
    decode(answer.update.control, encoding, change)
    np.testing.assert_array_equal(variate(answer), own + change)
    # c_i⁺ = c_i − c − Δ/(K·η), where Δ is what the steps have done
    step = -delta(work, answer) / (0.1 * answer.update.steps)
    np.testing.assert_allclose(variate(answer), own - common + step, atol=0.02 if encoding == "int8" else 1e-5)
    plain = make_work(plan=msgspec.structs.replace(work.brief.plan, correction="none"))
    assert np.abs(delta(work, answer) - delta(plain, train(source, plain))).max() > 0.01


def test_feddyn_sends_nothing_more_and_keeps_what_the_server_can_compute(
    source: SourceConfig, make_work: MakeWork
) -> None:
    work = corrected(make_work, "feddyn", proximal_mu=0.5)._replace(control=b"")
    answer = train(source, work)
    assert answer.update.control == b""
    np.testing.assert_allclose(variate(answer), -0.5 * delta(work, answer), rtol=1e-6)


def test_without_the_servers_variate_a_device_declines(source: SourceConfig, make_work: MakeWork) -> None:
    answer = train(source, corrected(make_work, "scaffold")._replace(control=b""))
    assert "a control variate of 0 numbers" in answer.update.declined
    assert answer.control is None


def test_the_loss_before_training_is_told_where_it_is_asked_for(source: SourceConfig, make_work: MakeWork) -> None:
    plan = TrainPlan(loss="cross_entropy", measure_loss=True)
    work = make_work(plan=plan)
    data = prepare(source, work.brief.data, "cross_entropy", 0).train
    assert work.model is not None
    assert work.model.standardiser is not None
    metrics = evaluate(
        SPEC, "cross_entropy", work.model.weights, data._replace(x=work.model.standardiser.apply(data.x))
    )
    assert train(source, work).update.loss == pytest.approx(metrics.sums[1] / metrics.sums[0])
    assert train(source, make_work()).update.loss is None


def test_statistics_are_the_moments_of_the_raw_features(source: SourceConfig, make_work: MakeWork) -> None:
    work = make_work(Phase.STATISTICS)
    answer = train(source, work)
    prepared = prepare(source, work.brief.data, "cross_entropy", 0)
    expected = Moments.of(prepared.train.x).to_vector()
    assert np.array_equal(np.frombuffer(answer.update.vector, "<f8"), expected)
    assert (answer.update.samples, answer.encoding, answer.residual) == (80, 0, None)


def test_the_same_round_gives_the_same_update_whatever_the_attempt(source: SourceConfig, make_work: MakeWork) -> None:
    work = make_work()
    again = work._replace(manifest=msgspec.structs.replace(work.manifest, attempt=2))
    later = work._replace(manifest=msgspec.structs.replace(work.manifest, round=2))
    assert train(source, work) == train(source, again)
    assert train(source, work) != train(source, later)
    other = Training(source, b"E" * 16, lambda name: b"", lambda name: b"").run(work, never)
    assert other != train(source, work)


def test_metrics_are_of_the_model_that_came(source: SourceConfig, make_work: MakeWork) -> None:
    work = make_work()
    answer = train(source, work)
    holdout = prepare(source, work.brief.data, "cross_entropy", 0).holdout
    assert work.model is not None
    assert work.model.standardiser is not None
    scaled = holdout._replace(x=work.model.standardiser.apply(holdout.x))
    expected = evaluate(SPEC, "cross_entropy", work.model.weights, scaled)
    sent = Metrics.from_vector(np.frombuffer(answer.update.metrics, "<f8"), "cross_entropy", 2)
    assert np.array_equal(sent.to_vector(), expected.to_vector())
    assert sent.samples == 20


def test_a_task_to_evaluate_trains_nothing(source: SourceConfig, make_work: MakeWork) -> None:
    answer = train(source, make_work(Phase.EVALUATE, train=False))
    assert answer.update.metrics
    assert (answer.update.samples, answer.update.vector, answer.encoding) == (0, b"", 0)


def test_data_is_read_once_and_standardised_once(source: SourceConfig, make_work: MakeWork) -> None:
    training = Training(source, b"D" * 16, lambda name: b"", lambda name: b"")
    first = training.run(make_work(Phase.STATISTICS), never)
    work = make_work()
    second = training.run(work, never)
    raw = make_work(Phase.STATISTICS)
    Path(source.path).unlink()
    assert training.run(work, never) == second
    assert first is not None
    work = raw
    declined = training.run(work, never)
    assert declined is not None
    assert "there is no such file" in declined.update.declined  # raw features are wanted again, and the file is gone


def test_another_standardiser_reads_the_data_again(source: SourceConfig, make_work: MakeWork) -> None:
    training = Training(source, b"D" * 16, lambda name: b"", lambda name: b"")
    work = make_work()
    training.run(work, never)
    assert work.model is not None
    other = Standardiser(np.zeros(2, np.float32), np.ones(2, np.float32))
    work = work._replace(model=work.model._replace(standardiser=other))
    assert training.run(work, never) == train(source, work)


@pytest.mark.parametrize("encoding", ["float16", "int8", "int4", "sign", "eden", "topk"])
def test_what_an_encoding_loses_goes_into_the_next_update(
    source: SourceConfig, make_work: MakeWork, encoding: str
) -> None:
    exact = make_work()
    true = delta(exact, train(source, exact))
    work = make_work(encoding=encoding, options=options_of(encoding))
    first = train(source, work)
    assert first.residual is not None
    residual = np.frombuffer(first.residual, "<f4")
    assert residual.any()
    np.testing.assert_allclose(delta(work, first) + residual, true, rtol=1e-6, atol=1e-9)
    second = train(source, work._replace(residual=b"r" * 32), first.residual)
    assert second.residual is not None
    compensated = delta(work, second) + np.frombuffer(second.residual, "<f4")
    np.testing.assert_allclose(compensated, true + residual, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("encoding", ["float16", "int8", "int4", "sign", "eden", "topk"])
def test_a_device_forgets_what_is_lost_where_the_job_says_so(
    source: SourceConfig, make_work: MakeWork, encoding: str
) -> None:
    exact, options = make_work(), options_of(encoding)
    work = make_work(encoding=encoding, options=options, error_feedback=False)
    answer = train(source, work)
    assert answer.residual is None
    seeded = train(source, make_work(encoding=encoding, options=options))
    assert answer.update.vector == seeded.update.vector  # of the first round, where there is nothing to add
    lossy = delta(work, answer) - delta(exact, train(source, exact))
    assert lossy.any()
    again = train(source, work._replace(residual=b"r" * 32), np.full(lossy.size, 9.0, "<f4").tobytes())
    assert again.update.vector == answer.update.vector


@pytest.mark.parametrize("encoding", ["int8", "int4", "sign", "eden", "topk"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rounds=st.lists(
        st.tuples(st.sampled_from(["accepted", "accepted", "late", "rejected", ""]), st.booleans()), min_size=2
    )
)
def test_what_is_left_is_in_the_sum_exactly_once_whatever_ends_a_round(
    aggregator: Any, source: SourceConfig, make_bench: Callable[..., Any], encoding: str, rounds: list[tuple[str, bool]]
) -> None:
    """In a row of accepted updates, what was sent and what is left are what was meant; any other end begins anew."""
    residuals = {b"": b""}
    training, exact = (Training(source, b"D" * 16, residuals.__getitem__, lambda name: b"") for _ in range(2))
    changes = {"encoding": encoding, "options": options_of(encoding, share=0.2 if encoding == "topk" else 0.0)}
    bench, current = make_bench(), b""
    bench.up()
    for verdict, dies in rounds:
        work = bench.work(**changes)
        assert work.residual == current
        answer, twin = training.run(work, never), exact.run(unencoded(work), never)
        assert answer is not None
        assert twin is not None
        (entry,) = [each.entry for each in bench.do(Trained(work, answer)) if isinstance(each, StoreOutbox)]
        residuals[entry.digest] = answer.residual or b""
        if not current:
            sent, meant = np.zeros((2, SPEC.layout().size))
        sent += delta(work, answer)
        meant += np.frombuffer(twin.update.vector, "<f4")
        np.testing.assert_allclose(sent + np.frombuffer(residuals[entry.digest], "<f4"), meant, atol=1e-5)
        if dies:  # with the update on disk, which goes on being sent
            bench = make_bench(bench.state, (entry,))
            bench.up()
        if verdict:
            bench.down(aggregator.receipt(entry.blob, Verdict(verdict)))
        current = entry.digest if verdict == "accepted" else b""


def unencoded(work: Work) -> Work:
    return work._replace(brief=msgspec.structs.replace(work.brief, encoding="float32"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec": ModelSpec(inputs=3, outputs=2)}, "2 features, but the model takes 3"),
        ({"plan": TrainPlan(loss="cross_entropy", learning_rate=1e38, batch_size=8, l2=1.0)}, "diverged"),
    ],
)
def test_what_cannot_be_done_is_declined(
    source: SourceConfig, make_work: MakeWork, changes: dict[str, Any], reason: str
) -> None:
    update = train(source, make_work(**changes)).update
    assert reason in update.declined
    assert (update.samples, update.vector, update.metrics) == (0, b"", b"")


def test_bad_data_is_declined_with_its_place(source: SourceConfig, make_work: MakeWork) -> None:
    work = make_work()
    path = Path(source.path)
    path.write_text(path.read_text().replace(",a,", ",a,nan", 1))
    assert "line 2" in train(source, work).update.declined


def test_without_holdout_a_task_to_evaluate_is_declined(source: SourceConfig, make_work: MakeWork) -> None:
    work = make_work(Phase.EVALUATE, train=False)
    data = msgspec.structs.replace(
        work.brief.data, holdout=msgspec.structs.replace(work.brief.data.holdout, fraction=0.0)
    )
    work = work._replace(brief=msgspec.structs.replace(work.brief, data=data))
    assert "no hold-out" in train(source, work).update.declined


def test_training_stops_when_asked(source: SourceConfig, make_work: MakeWork) -> None:
    asked = iter([False, False, False, True])
    training = Training(source, b"D" * 16, lambda name: b"", lambda name: b"")
    assert training.run(make_work(), lambda: next(asked)) is None


def test_reading_and_evaluating_say_that_they_go_on(source: SourceConfig, make_work: MakeWork) -> None:
    calls: list[str] = []
    training = Training(source, b"D" * 16, lambda name: b"", lambda name: b"", lambda: calls.append("alive"))
    assert training.run(make_work(train=False), never)
    assert len(calls) >= 1 + 2  # a block of rows, before and after the evaluation
    calls.clear()
    assert training.run(make_work(train=False), never)
    assert len(calls) >= 2
