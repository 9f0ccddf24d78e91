"""How long an answer is waited for."""

import pytest

from edge_client.round_trip import CAP_S, FIRST_S, MIN_S, RoundTrip


def test_before_anything_was_measured() -> None:
    assert RoundTrip().timeout_s == FIRST_S


def test_by_the_equations_of_the_source() -> None:
    trip = RoundTrip()
    trip.measured(4.0)
    assert trip.timeout_s == 4.0 + 4 * 2.0
    trip.measured(8.0)  # RTTVAR = 3/4 · 2 + 1/4 · 4, SRTT = 7/8 · 4 + 1/8 · 8
    assert trip.timeout_s == pytest.approx(4.5 + 4 * 2.5)


@pytest.mark.parametrize(("seconds", "timeout_s"), [(0.01, MIN_S), (0.0, MIN_S), (1e6, CAP_S)])
def test_within_bounds(seconds: float, timeout_s: float) -> None:
    trip = RoundTrip()
    trip.measured(seconds)
    assert trip.timeout_s == timeout_s


def test_a_path_that_became_quick_is_believed_after_a_while() -> None:
    trip = RoundTrip()
    for seconds in [20.0] + [0.1] * 60:
        trip.measured(seconds)
    assert trip.timeout_s == MIN_S
