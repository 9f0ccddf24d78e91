"""Arrays of a reply like those of the request: by position they mean the same."""

import numpy as np
import pytest

from aggregator.flower.replies import in_the_order_of
from fedloom.wire.records import Array, ArrayRecord, MetricRecord


def record(**arrays):
    return ArrayRecord({name: Array.of(np.asarray(values)) for name, values in arrays.items()})


MODEL = {"model": record(a=np.zeros(2, np.float32), b=np.zeros((1, 1), np.float16))}


def test_arrays_get_the_order_and_types_of_the_model():
    reply = {"model": record(b=np.ones((1, 1)), a=np.array([1.5, 2.5])), "m": MetricRecord({"n": 1})}
    done = in_the_order_of(MODEL, reply)
    assert list(done["model"].items) == ["a", "b"]
    assert [array.dtype for array in done["model"].items.values()] == ["float32", "float16"]
    assert done["model"].items["a"].values().tolist() == [1.5, 2.5]
    assert done["m"] is reply["m"]


def test_a_reply_like_the_request_is_not_copied():
    assert in_the_order_of(MODEL, MODEL)["model"].items["a"] is MODEL["model"].items["a"]


def test_arrays_that_were_not_sent_are_left_alone():
    reply = {"model": record(c=np.ones(3)), "other": record(a=np.ones(9))}
    assert in_the_order_of(MODEL, reply) == reply


@pytest.mark.parametrize(
    ("a", "words"),
    [
        (np.zeros(3, np.float32), r"model.a has the shape \(3,\), not \(2,\)"),
        (np.zeros(2, np.int64), "model.a is of type int64, not float32"),
        (np.array([1e300, 0.0]), "model.a does not fit float32"),
    ],
)
def test_arrays_that_cannot_be_the_models_are_refused(a, words):
    with pytest.raises(ValueError, match=words):
        in_the_order_of(MODEL, {"model": record(a=a, b=np.zeros((1, 1)))})
