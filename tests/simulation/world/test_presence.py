"""When devices are there: their share of the day, and both questions in agreement with a clock that is looked at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.errors import DataError
from fedloom.simulated_world import DAY_S, Availability, Turnover
from simulation.world.draws import Draws
from simulation.world.presence import Always, Diurnal, Joining
from simulation.world.trace import read_trace

IDS = np.arange(4000)
HOUR_S = 3600.0


def diurnal(seed=1, **times):
    return Diurnal(Availability("diurnal", **times), Draws(seed))


def there(presence, time_s, ids=IDS):
    return presence.until(ids, time_s) > time_s


@pytest.mark.parametrize(("share", "jitter_h"), [(0.25, 0.0), (0.25, 3.0), (0.8, 2.4)])
def test_devices_are_there_for_their_share_of_the_time(share, jitter_h):
    presence = diurnal(share=share, jitter_h=jitter_h)
    times_s = np.random.default_rng(0).uniform(0.0, 20 * DAY_S, 100)
    assert np.mean([there(presence, time_s).mean() for time_s in times_s]) == pytest.approx(share, abs=0.01)
    of_one = np.mean([there(presence, time_s, IDS[:1])[0] for time_s in np.linspace(0.0, 40 * DAY_S, 3000)])
    assert of_one == pytest.approx(share, abs=0.02)


def test_days_that_begin_at_once_are_a_wave_and_days_at_any_time_are_none():
    hours = np.arange(0.5, 48.0)
    wave = [there(diurnal(share=0.25, spread_h=2.0), hour * HOUR_S).mean() for hour in hours]
    level = [there(diurnal(share=0.25, spread_h=24.0), hour * HOUR_S).mean() for hour in hours]
    assert (min(wave), max(wave)) == (0.0, 1.0)
    assert wave[:24] == wave[24:]
    assert max(level) - min(level) < 0.06


@given(st.integers(0, 99), st.floats(0.0, 10 * DAY_S), st.sampled_from([(0.3, 0.0), (0.5, 4.0), (0.9, 1.2)]))
def test_a_device_is_there_until_it_goes_and_from_when_it_comes_again(client, time_s, case):
    ids, presence = np.array([client]), diurnal(share=case[0], jitter_h=case[1])
    goes_s, comes_s = float(presence.until(ids, time_s)[0]), float(presence.again(ids, time_s)[0])
    if goes_s > time_s:
        assert comes_s == time_s
        assert goes_s - time_s <= case[0] * DAY_S
        assert there(presence, np.nextafter(goes_s, 0.0), ids)[0]
        assert not there(presence, goes_s, ids)[0]
    else:
        assert comes_s > time_s
        assert there(presence, comes_s, ids)[0]
        assert not there(presence, (time_s + comes_s) / 2, ids)[0]


def test_devices_join_evenly_and_leave_for_good():
    presence = Joining(Turnover(join_s=1000.0, stay_s=500.0), Draws(3), Always())
    late = there(presence, 250.0).mean()
    stayed = [np.exp(-age / 500.0) for age in np.linspace(0.0, 250.0, 1000)]
    assert late == pytest.approx(0.25 * np.mean(stayed), abs=0.02)
    ever_s = presence.again(IDS, 0.0)
    assert (ever_s <= 1000.0).all()
    assert np.median(ever_s) == pytest.approx(500.0, abs=30.0)
    assert (presence.again(IDS, 1e6) == np.inf).all()
    assert (presence.until(IDS, 1e6) == -np.inf).all()


def test_who_joins_later_begins_with_the_first_day_after_that():
    day = diurnal(share=0.1, spread_h=0.0)
    presence = Joining(Turnover(join_s=2 * DAY_S), Draws(3), day)
    comes_s = presence.again(IDS, 0.0)
    there_then = presence.until(IDS, comes_s)
    assert (there_then > comes_s).all()
    assert set(np.floor(comes_s / DAY_S).astype(int)) == {0, 1, 2}


TRACE = "client,from_s,to_s\n2,50,60\n0,10,20\n0,30,40\n0,15,30\n2,5,6\n"


@pytest.fixture
def trace(tmp_path):
    def read(text=TRACE, clients=4):
        (tmp_path / "trace.csv").write_text(text)
        return read_trace(tmp_path / "trace.csv", clients)

    return read


def test_a_trace_says_when_devices_are_there_and_what_overlaps_is_one_time(trace):
    presence, ids = trace(), np.arange(4)
    never = -np.inf
    assert presence.until(ids, 5.0).tolist() == [never, never, 6.0, never]
    assert presence.until(ids, 12.0).tolist() == [40.0, never, never, never]
    assert presence.until(ids, 40.0).tolist() == [never] * 4
    assert presence.again(ids, 0.0).tolist() == [10.0, np.inf, 5.0, np.inf]
    assert presence.again(ids, 12.0).tolist() == [12.0, np.inf, 50.0, np.inf]
    assert presence.again(ids, 60.0).tolist() == [np.inf] * 4


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(1, 6)), min_size=1, max_size=12))
def test_any_trace_agrees_with_its_lines(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    lines = [f"{client},{begin},{begin + length}" for client, begin, length in rows]
    path.write_text("\n".join(["client,from_s,to_s", *lines]))
    presence, ids = read_trace(path, 3), np.arange(3)
    for half in range(60):
        time_s = half / 2
        expected = [any(c == i and b <= time_s < b + n for c, b, n in rows) for i in range(3)]
        assert (presence.until(ids, time_s) > time_s).tolist() == expected
        assert (presence.again(ids, time_s) == time_s).tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "make it client,from_s,to_s"),
        ("id,a,b\n", "its first line is 'id,a,b'"),
        ("client,from_s,to_s\n", "has no line of data"),
        ("client,from_s,to_s\n0,1,2\n0,x,2\n", "line 3: '0,x,2' is not a whole number and two numbers"),
        ("client,from_s,to_s\n4,1,2\n", "line 2: client 4 of 4; number them from 0 to 3"),
        ("client,from_s,to_s\n0,2,2\n", "from 2 to 2 is no time"),
        ("client,from_s,to_s\n0,nan,2\n", "is no time"),
    ],
)
def test_a_trace_that_says_something_impossible_is_refused(trace, text, message):
    with pytest.raises(DataError, match=message):
        trace(text)


def test_a_spreadsheet_s_byte_order_mark_is_no_part_of_the_first_name(trace):
    assert trace("\ufeffclient,from_s,to_s\n0,1,2\n").begins_s.tolist() == [1.0]


def test_what_csv_itself_cannot_read_is_refused(trace):
    with pytest.raises(DataError, match=r"trace.csv: cannot be read \(field larger than field limit"):
        trace("client,from_s,to_s\n" + "1" * 200_000 + ",1,2\n")


def test_a_trace_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_trace(tmp_path / "none.csv", 2)
