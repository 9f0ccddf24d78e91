"""Topics: what is written is what is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.errors import Refused
from fedloom.wire.topics import Topics

ids = st.binary(min_size=16, max_size=16)


@given(ids, ids)
def test_the_device_is_read_back(federation, device):
    topics = Topics(federation)
    for topic in (topics.up(device), topics.down(device), topics.state(device)):
        assert topics.device_of(topic) == device
        assert topic.count("/") <= 6


@given(ids, st.binary(min_size=32, max_size=32), st.integers(0, 999_999))
def test_the_chunk_is_read_back(federation, model, number):
    topics = Topics(federation)
    assert topics.chunk_of(topics.chunk(model, number)) == (model, number)


@given(st.text(max_size=80))
def test_foreign_topics_are_refused(topic):
    topics = Topics(bytes(16))
    for read in (topics.device_of, topics.chunk_of):
        with pytest.raises(Refused):
            read(topic)


@pytest.mark.parametrize("number", ["-1", "١", "1.0", "9999999", ""])
def test_chunk_numbers_are_plain_digits(number):
    topics = Topics(bytes(16))
    with pytest.raises(Refused):
        topics.chunk_of(f"fedloom/{'00' * 16}/all/model/{'11' * 32}/{number}")


@pytest.mark.parametrize("device", ["AB" * 16, "ab " * 16, " " + "ab" * 16, "ab" * 15 + "aB", "\tab" * 16])
def test_a_device_has_one_spelling(device):
    with pytest.raises(Refused):
        Topics(bytes(16)).device_of(f"fedloom/{'00' * 16}/d/{device}/up")


def test_the_names_of_the_protocol():
    topics, device = Topics(bytes(16)), b"\x11" * 16
    head = "fedloom/" + "00" * 16
    assert topics.up(device) == f"{head}/d/{'11' * 16}/up"
    assert topics.manifest == f"{head}/all/manifest"
    assert topics.chunk(b"\x22" * 32, 7) == f"{head}/all/model/{'22' * 32}/7"
