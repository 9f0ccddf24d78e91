"""A device's own model in a round: what it starts from, what stays, what is measured; and what never leaves."""

from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from personal_parts import DATA, METHODS, PLAN, SPEC, Device, make_work

from edge_client.events import Answer
from fedloom import msgpack
from fedloom.compression import Encoding, options_of
from fedloom.data.prepare import prepare
from fedloom.learning.evaluate import evaluate
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.metrics import Metrics
from fedloom.learning.model_file import from_bytes, save
from fedloom.learning.personal import Personal, shared_layout
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.learning.trainer import Trainer
from fedloom.wire.encoding import encoded_bytes
from fedloom.wire.messages import Phase

SHARED = shared_layout(SPEC, METHODS["head"]).size
SIZE = SPEC.layout().size


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(1, tmp_path)


def weights(seed: int) -> Vector:
    return initial_weights(SPEC, np.random.default_rng(seed))


def kept(answer: Answer) -> Vector:
    assert answer.personal is not None
    return from_bytes(answer.personal, "").weights


def measured(answer: Answer) -> list[np.ndarray]:
    sums = np.frombuffer(answer.update.metrics, "<f8")
    return list(sums.reshape(-1, Metrics.length("cross_entropy", 3)))


def test_a_head_goes_on_from_where_it_was_and_the_base_from_the_federations(device: Device) -> None:
    work = make_work(weights(0), METHODS["head"])
    first = kept(device.take_part(work))
    assert (first != weights(0)).any()
    second = device.take_part(make_work(weights(5), METHODS["head"], number=2))
    start = np.concatenate([weights(5)[:SHARED], first[SHARED:]])
    data = prepare(device.source, DATA, "cross_entropy", 0)
    rng = device.training._rng(make_work(weights(5), METHODS["head"], number=2))
    expected = Trainer(SPEC, PLAN).fit(start, data.train, rng).weights
    assert np.array_equal(kept(second), expected)
    assert np.array_equal(np.frombuffer(second.update.vector, "<f4"), expected[:SHARED] - weights(5)[:SHARED])
    common, own = measured(second)
    assert np.array_equal(common, evaluate(SPEC, "cross_entropy", weights(5), data.holdout).to_vector())
    assert np.array_equal(own, evaluate(SPEC, "cross_entropy", start, data.holdout).to_vector())


def test_ditto_trains_its_own_model_beside_and_sends_what_it_would_send_without(device: Device) -> None:
    plain = device.answer(make_work(weights(0), None))
    work = make_work(weights(0), METHODS["ditto"])
    first = device.take_part(work)
    assert first.update.vector == plain.update.vector
    assert measured(first)[0].tobytes() == measured(first)[1].tobytes() == plain.update.metrics
    later = make_work(weights(5), METHODS["ditto"], number=2)
    second = device.take_part(later)
    data = prepare(device.source, DATA, "cross_entropy", 0)
    trainer = Trainer(SPEC, METHODS["ditto"].plan(PLAN))
    rng = device.training._rng(later, "own")
    expected = trainer.fit(kept(first), data.train, rng, anchor=weights(5)).weights
    assert np.array_equal(kept(second), expected)
    own = evaluate(SPEC, "cross_entropy", kept(first), data.holdout).to_vector()
    assert np.array_equal(measured(second)[1], own)


def test_the_final_model_is_fine_tuned_once_for_its_evaluation_and_kept(device: Device) -> None:
    rounds = device.take_part(make_work(weights(0), METHODS["fine_tune"]))
    assert (rounds.personal, len(measured(rounds))) == (None, 1)
    evaluation = device.take_part(make_work(weights(7), METHODS["fine_tune"], Phase.EVALUATE, 2))
    data = prepare(device.source, DATA, "cross_entropy", 0)
    tuned = evaluate(SPEC, "cross_entropy", kept(evaluation), data.holdout)
    assert np.array_equal(measured(evaluation)[1], tuned.to_vector())
    assert tuned.summary()["accuracy"] > 0.9
    Path(device.source.path).unlink()  # nothing is trained again
    device.start_again()
    end = device.answer(make_work(weights(7), METHODS["fine_tune"], Phase.DONE, 2))
    assert np.array_equal(kept(end), kept(evaluation))


def test_who_was_not_asked_to_evaluate_tunes_at_the_end_to_the_same_bits(device: Device) -> None:
    end = device.answer(make_work(weights(7), METHODS["fine_tune"], Phase.DONE, 2))
    evaluation = device.answer(make_work(weights(7), METHODS["fine_tune"], Phase.EVALUATE, 2))
    assert np.array_equal(kept(end), kept(evaluation))
    assert end.update.vector == end.update.metrics == b""


@pytest.mark.parametrize("method", ["head", "ditto"])
def test_at_the_end_the_last_own_model_is_kept_with_the_final_base(device: Device, method: str) -> None:
    last = kept(device.take_part(make_work(weights(0), METHODS[method])))
    Path(device.source.path).unlink()
    end = kept(device.answer(make_work(weights(7), METHODS[method], Phase.DONE, 2)))
    expected = last if method == "ditto" else np.concatenate([weights(7)[:SHARED], last[SHARED:]])
    assert np.array_equal(end, expected)


@pytest.mark.parametrize("method", ["head", "ditto"])
def test_another_runs_model_and_another_input_layers_are_never_gone_on_from(device: Device, method: str) -> None:
    device.take_part(make_work(weights(0), METHODS[method]))
    other = make_work(weights(3), METHODS[method], Phase.DONE, run=b"K" * 16)
    assert np.array_equal(kept(device.answer(other)), weights(3))
    one, two = np.ones(2, np.float32), np.full(2, 2.0, np.float32)
    scaled = make_work(weights(3), METHODS[method], Phase.DONE, standardiser=Standardiser(one, two))
    assert np.array_equal(kept(device.answer(scaled)), weights(3))
    narrow = ModelSpec(inputs=2, outputs=3, hidden=(4,))
    small = initial_weights(narrow, np.random.default_rng(0))
    assert np.array_equal(kept(device.answer(make_work(small, METHODS[method], Phase.DONE, spec=narrow))), small)


def test_a_personal_model_that_diverges_begins_again_and_does_not_keep_the_device_out(device: Device) -> None:
    wild = msgspec.structs.replace(METHODS["ditto"], learning_rate=1e30)
    answer = device.take_part(make_work(weights(0), wild))
    assert np.array_equal(kept(answer), weights(0))
    broken = make_work(weights(0), METHODS["ditto"])
    far = from_bytes(device.answer(broken).personal or b"", "")
    far = msgspec.structs.replace(far, weights=np.full(SIZE, 1e38, np.float32))
    save(far, device.directory.personals.current)
    answer = device.take_part(make_work(weights(1), METHODS["ditto"], number=2))
    assert measured(answer)[0].tobytes() == measured(answer)[1].tobytes()
    assert np.isfinite(kept(answer)).all()


@pytest.mark.parametrize(
    ("method", "phase"), [("head", Phase.TRAIN), ("ditto", Phase.TRAIN), ("fine_tune", Phase.EVALUATE)]
)
def test_it_stops_when_asked_in_either_training(device: Device, method: str, phase: Phase) -> None:
    work, calls = make_work(weights(0), METHODS[method], phase), 0

    def stop_at(last: int) -> Answer | None:
        nonlocal calls
        calls = 0

        def should_stop() -> bool:
            nonlocal calls
            calls += 1
            return calls == last

        return device.training.run(work, should_stop)

    whole, steps = stop_at(0), calls
    assert whole is not None
    assert steps > 6
    for last in (1, 2, steps // 2, steps):
        assert stop_at(last) is None
    assert stop_at(0) == whole


def test_a_head_with_which_training_diverges_begins_again(device: Device) -> None:
    work = make_work(weights(0), METHODS["head"])
    far = from_bytes(device.answer(work).personal or b"", "")
    save(msgspec.structs.replace(far, weights=np.full(SIZE, 1e30, np.float32)), device.directory.personals.current)
    declined = device.answer(make_work(weights(1), METHODS["head"], plan=msgspec.structs.replace(PLAN, l2=1e9)))
    assert "diverged" in declined.update.declined
    assert declined.update.vector == b""
    assert np.array_equal(kept(declined), weights(1))


@settings(max_examples=25)
@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    layers=st.integers(1, 3),
    encoding=st.sampled_from(get_args(Encoding)),
    seed=st.integers(0, 2**16),
)
def test_no_weight_of_a_head_is_in_an_update(
    tmp_path_factory: pytest.TempPathFactory, widths: list[int], layers: int, encoding: Encoding, seed: int
) -> None:
    """The plaintext is as long as the base alone needs, and has neither the head's numbers nor its changes in it."""
    spec = ModelSpec(inputs=2, outputs=3, hidden=tuple(widths))
    personal = Personal(method="head", layers=min(layers, len(widths)))
    shared = shared_layout(spec, personal).size
    device = Device(seed % 5, tmp_path_factory.mktemp("head"))
    start = initial_weights(spec, np.random.default_rng(seed))
    options = options_of(encoding, share=0.5 if encoding == "topk" else 0.0)
    answer = device.answer(make_work(start, personal, spec=spec, encoding=encoding, options=options))
    head = kept(answer)[shared:]
    changes = head - start[shared:]
    assert changes.any()
    assert len(answer.update.vector) == encoded_bytes(encoding, shared, options)
    plaintext = msgpack.encode(answer.update)
    for number in (*head[np.abs(head) > 0], *changes[np.abs(changes) > 0]):
        assert number.astype("<f4").tobytes() not in plaintext
