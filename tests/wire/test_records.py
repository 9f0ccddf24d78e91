"""Records as they travel: nothing is lost, and whatever does not hold what it says is refused."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.wire import records
from fedloom.wire.records import Array, ArrayRecord, ConfigRecord, MetricRecord, Reply, Request

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | FINITE | st.lists(FINITE, max_size=4) | st.lists(st.booleans(), max_size=3)
ARRAYS = st.sampled_from(sorted(records.ITEM_BYTES)).flatmap(
    lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
NAMES = st.text(max_size=8)
METRICS = st.builds(MetricRecord, st.dictionaries(NAMES, st.integers(0, 9) | FINITE | st.lists(FINITE, max_size=4)))
SETTINGS = st.builds(
    ConfigRecord,
    st.dictionaries(NAMES, st.booleans() | st.text(max_size=4) | NUMBERS),
    st.dictionaries(NAMES, st.binary(max_size=4) | st.lists(st.binary(max_size=2), max_size=2)),
)
ARRAY_RECORDS = st.builds(ArrayRecord, st.dictionaries(NAMES, ARRAYS.map(Array.of), max_size=3))
RECORDS = st.dictionaries(NAMES, METRICS | SETTINGS | ARRAY_RECORDS, max_size=3)


def reply(**arrays):
    return records.encode(Reply({"model": ArrayRecord(arrays)}))


@given(RECORDS)
def test_records_come_back_as_they_were_in_their_order(content):
    again = records.read_records(records.encode(content))
    assert again == content
    assert [list(record.items) for record in again.values()] == [list(record.items) for record in content.values()]
    types = [type(value) for record in content.values() for value in record.items.values()]
    assert types == [type(value) for record in again.values() for value in record.items.values()]


@given(ARRAYS, st.booleans())
def test_an_array_comes_back_bit_by_bit_whatever_its_order_in_memory(values, is_swapped):
    stored = np.asarray(values, order="F")
    again = Array.of(stored.astype(stored.dtype.newbyteorder(">")) if is_swapped else stored).values()
    assert (again.dtype, again.shape) == (values.dtype, values.shape)
    assert again.tobytes() == values.tobytes()


def test_the_bytes_of_an_array_are_known():
    array = Array.of(np.array([[1.0, 2.0]], np.float16))
    assert msgpack.encode(array) == b"\x93\xa7float16\x92\x01\x02\xc4\x04\x00\x3c\x00\x40"
    assert msgpack.encode(ArrayRecord({"w": array}))[:10] == b"\x92\xa6arrays\x81\xa1"


def too_many():
    empty, scalar = Array("float32", (0,), b""), Array("float32", (), bytes(4))
    crowd = {f"{record}": ArrayRecord({f"{n}": empty for n in range(10_000)}) for record in range(2)}
    yield "arrays", Reply(crowd)
    yield "scalars", Reply({"a": ArrayRecord({f"{n}": scalar for n in range(13_200)})})
    yield (
        "metrics",
        Reply({f"{record}": MetricRecord(dict.fromkeys(map(str, range(16_384)), 1)) for record in range(2)}),
    )
    yield "numbers", Reply({"m": MetricRecord({f"{n}": [0] * 16_384 for n in range(4)})})
    yield "settings", Reply({"c": ConfigRecord({f"{n}": [""] * 16_384 for n in range(4)})})
    yield "blobs", Reply({"c": ConfigRecord({}, {f"{n}": [b""] * 16_384 for n in range(4)})})


@pytest.mark.parametrize("content", [pytest.param(each, id=name) for name, each in too_many()])
@pytest.mark.parametrize("is_reply", [True, False])
def test_more_values_than_a_message_may_have_are_refused_before_they_are_built(content, is_reply, monkeypatch):
    blob = records.encode(content if is_reply else Request("train", "1", 7, 60.0, {}, content.content))
    monkeypatch.setattr(msgpack, "decode", None)
    with pytest.raises(Refused, match=r"more than 65,536 values, names and shapes counted \(MAX_VALUES\)") as refused:
        (records.read_reply if is_reply else records.read_request)(blob)
    assert refused.value.reason is Reason.TOO_LARGE


def test_as_many_values_as_a_message_may_have_are_read():
    list_of = records.MAX_VALUES - 10  # the reply's own 4 (with code and reason), the record's 4, a name, the list
    lists = [records.MAX_ITEMS] * 3
    lists.append(list_of - sum(lists) - 3 * 2)  # and for each of the first three a name and a list
    content = {"m": MetricRecord({f"{n}": [0] * length for n, length in enumerate(lists)})}
    assert records.read_reply(records.encode(Reply(content))).content == content
    lists[-1] += 1
    more = {"m": MetricRecord({f"{n}": [0] * length for n, length in enumerate(lists)})}
    with pytest.raises(Refused, match="more than 65,536 values"):
        records.read_reply(records.encode(Reply(more)))


def test_every_half_is_finite_or_not_as_numpy_says():
    halves = np.arange(2**16, dtype="<u2").view("<f2")
    for half in halves:
        blob, is_finite = reply(w=Array.of(np.array([1, half, 1], np.float16))), bool(np.isfinite(half))
        try:
            records.read_reply(blob)
            is_read = True
        except Refused as refused:
            is_read = refused.reason is not Reason.NON_FINITE
        assert is_read == is_finite, half


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([1j]), np.array([object()]), np.array(["2020"], "M8[D]")])
def test_no_other_kind_of_array_travels(values):
    with pytest.raises(ValueError, match="cannot be sent; convert it to one of bool"):
        Array.of(values)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (Array("float32", (2,), b"\0" * 7), Reason.WRONG_LENGTH),
        (Array("float32", (2**40, 2**40), b""), Reason.WRONG_LENGTH),
        (Array("float32", (0, 2**62), b""), Reason.WRONG_LENGTH),
        (Array("int8", (2**63, 0), b""), Reason.WRONG_LENGTH),
        (Array("uint64", (0, 2**20, 2**20), b""), Reason.WRONG_LENGTH),
        (Array("float64", (1,), np.array([math.nan]).tobytes()), Reason.NON_FINITE),
        (Array("float16", (1,), np.array([math.inf], "f2").tobytes()), Reason.NON_FINITE),
        (Array("bool", (2,), b"\0\2"), Reason.MALFORMED),
        (Array("object", (1,), b"\0" * 8), Reason.MALFORMED),
        (Array("float32", (-1,), b""), Reason.MALFORMED),
        (Array("float32", (0,) * 33, b""), Reason.MALFORMED),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(array, reason):
    with pytest.raises(Refused) as caught:
        records.read_reply(reply(w=array))
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (MetricRecord({"loss": math.nan}), Reason.NON_FINITE),
        (MetricRecord({"loss": [1.0, math.inf]}), Reason.NON_FINITE),
        (MetricRecord({"loss": [1, 2.0]}), Reason.MALFORMED),
        (MetricRecord({"loss": "low"}), Reason.MALFORMED),
        (MetricRecord({str(n): n for n in range(records.MAX_ITEMS + 1)}), Reason.MALFORMED),
        (MetricRecord({"loss": [0] * (records.MAX_ITEMS + 1)}), Reason.MALFORMED),
        (MetricRecord({"x" * 301: 0}), Reason.MALFORMED),
        (ConfigRecord({"mode": [True, 1]}), Reason.MALFORMED),
        (ConfigRecord({"mode": {}}), Reason.MALFORMED),
    ],
)
def test_figures_and_settings_that_are_none_are_refused(record, reason):
    with pytest.raises(Refused) as caught:
        records.read_reply(records.encode(Reply({"m": record})))
    assert caught.value.reason is reason


def test_settings_may_be_infinite_and_what_stays_here_need_not_be_finite():
    content = {"c": ConfigRecord({"clip": math.inf}), "m": MetricRecord({"worst": math.inf})}
    assert records.read_records(records.encode(content)) == content
    assert records.read_reply(records.encode(Reply({"c": content["c"]}))).content == {"c": content["c"]}


def test_a_request_is_read_strictly():
    request = Request("train", "1", 7, 60.0, {"lr": 0.1, "fast": True}, {"m": MetricRecord({"n": 1})})
    assert records.read_request(records.encode(request)) == request
    for wrong in ({"ttl_s": math.nan}, {"settings": {"lr": [1]}}, {"content": {"m": MetricRecord({"n": math.nan})}}):
        with pytest.raises(Refused):
            records.read_request(records.encode(msgspec.structs.replace(request, **wrong)))
    many = {str(n): MetricRecord({}) for n in range(records.MAX_RECORDS + 1)}
    with pytest.raises(Refused):
        records.read_request(records.encode(msgspec.structs.replace(request, content=many)))


def test_an_error_is_a_reply_without_content():
    assert records.read_reply(records.encode(Reply(None, 2, "it failed"))) == Reply(None, 2, "it failed")
