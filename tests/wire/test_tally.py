"""Counting what msgpack claims to hold, against what a reader builds of it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom import msgpack
from fedloom.wire.tally import count_values

ENOUGH = 10_000
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=40),
    st.binary(max_size=300),
    st.builds(msgspec.msgpack.Ext, st.integers(0, 127), st.binary(max_size=20)),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=4), inner, max_size=20)
)


def built(value):
    match value:
        case dict():
            return 1 + sum(1 + built(each) for each in value.values())
        case list():
            return 1 + sum(map(built, value))
        case _:
            return 1


@given(VALUES)
def test_every_value_is_counted_once(value):
    assert count_values(msgpack.encode(value), ENOUGH) == built(value)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize("make", [lambda n: b"b" * n, lambda n: "t" * n, lambda n: msgspec.msgpack.Ext(1, bytes(n))])
def test_every_length_is_stepped_over(size, make):
    assert count_values(msgpack.encode([make(size), 1, [2]]), ENOUGH) == 5


@pytest.mark.parametrize("size", [0, 1, 15, 16, 65_535, 65_536])
def test_every_container_says_how_much_is_in_it(size):
    assert count_values(msgpack.encode([[0] * size]), 2 + size) == 2 + size
    assert count_values(msgpack.encode([dict.fromkeys(range(size))]), 2 + 2 * size) == 2 + 2 * size


@pytest.mark.parametrize("claim", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x9f\xdc\xff\xff"])
def test_what_claims_more_is_not_looked_into(claim):
    class Header(bytes):
        """In which nobody looks at more than the claim."""

        def __getitem__(self, place):
            assert (place if isinstance(place, int) else place.stop) < len(claim) + 1
            return super().__getitem__(place)

    assert count_values(Header(claim + bytes(1_000_000)), 1000) > 1000


def test_what_ends_too_early_ends_the_count():
    blob = msgpack.encode([1, "text", {"a": [2, 3]}])
    assert all(count_values(blob[:end], ENOUGH) <= 9 for end in range(len(blob)))
