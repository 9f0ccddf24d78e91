"""Whatever plain data a strategy holds is the same after a restart; anything else is refused by name."""

import threading
from types import SimpleNamespace

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom import msgpack
from strategies import FusionError
from strategies.flower.memory import Memory, capture, restore

NUMBERS = st.sampled_from(["<f4", "<f8", ">f8", "<i8", "<u2", "|b1", "<f2"])
TENSORS = NUMBERS.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=3)))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    TENSORS,
    TENSORS.map(Array),
    TENSORS.map(lambda tensor: ArrayRecord({"a": Array(tensor), "b": Array(tensor)})),
    st.integers(0, 9).map(lambda number: MetricRecord({"m": number, "n": [0.5, 1.5]})),
    st.binary(max_size=3).map(lambda data: ConfigRecord({"c": data, "t": True, "s": "x"})),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=6,
)


def through_a_file(memory):
    return msgpack.decode(msgpack.encode(memory), Memory)


def same(left, right):
    if isinstance(left, np.ndarray | np.generic):
        return (
            type(left) is type(right)
            and left.dtype == right.dtype.newbyteorder(left.dtype.byteorder)
            and left.shape == right.shape
            and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        )
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


@settings(max_examples=200)
@given(value=VALUES)
def test_it_survives_a_file(value):
    memory = through_a_file(capture(SimpleNamespace(value=value), {}))
    other = SimpleNamespace(value="the constructor's", more="what the constructor alone has")
    restore(other, memory)
    assert list(vars(other)) == ["value"]
    assert same(value, other.value)
    assert msgpack.encode(capture(other, {})) == msgpack.encode(memory)


def test_scalars_of_numpy_stay_what_they_are():
    memory = through_a_file(
        capture(SimpleNamespace(single=np.float32(1.5), double=np.float64(0.1), whole=np.int64(3)), {})
    )
    other = SimpleNamespace()
    restore(other, memory)
    assert [type(value) for value in (other.single, other.double, other.whole)] == [np.float32, np.float64, np.int64]


def test_the_same_memory_is_the_same_bytes():
    """Whatever order attributes were set in, and whatever order bytes had: the file's name is their hash."""
    one = SimpleNamespace(a=np.arange(3, dtype="<f8"), b=1)
    other = SimpleNamespace(b=1, a=np.arange(3, dtype=">f8"))
    assert msgpack.encode(capture(one, {})) == msgpack.encode(capture(other, {}))


def test_functions_and_classes_are_the_constructors():
    old, new = SimpleNamespace(rule=len, kind=dict, count=1), SimpleNamespace(rule=sum, kind=list, count=0)
    restore(new, capture(old, vars(old)))
    assert (new.rule, new.kind, new.count) == (sum, list, 1)


class Odd(dict):
    pass


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (threading.Lock(), "_thread.lock"),
        (Odd(), "Odd"),
        (np.array([object()]), "numpy's object"),
        (np.array(["text"]), "numpy's <U4"),
        (2**70, "more than 64 bits"),
        ({1, 2}, "builtins.set"),
        (len, "builtin_function_or_method"),
        ([[{"deep": 1j}]], "builtins.complex"),
        (LOOP, "recursion"),
    ],
)
def test_what_is_not_plain_data_is_refused_by_name(value, says):
    with pytest.raises(FusionError, match="attribute 'thing' of SimpleNamespace cannot be kept") as caught:
        capture(SimpleNamespace(thing=value), {})
    assert says in str(caught.value)
