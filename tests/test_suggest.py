"""The one "did you mean"."""

from fedloom.suggest import closest


def test_the_most_similar_name_is_suggested_or_none() -> None:
    assert closest("hsot", ["port", "host", "hosts"]) == "host"
    assert closest("x", ["port", "host"]) is None
    assert closest("x", []) is None
