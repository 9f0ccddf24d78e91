"""The watchdog is fed while work ends or computes, and not while a write never returns."""

import threading
import time

import pytest

from aggregator.pulse import Pulse

PATIENCE_S = 10.0
STILL_S = 0.5
"""A thread whose processor time has not grown for so long has gone to sleep."""


@pytest.fixture
def working():
    """`working(pulse, work)`: does it in a thread, which is there when the call returns."""
    threads = []

    def start(pulse, work):
        begun = threading.Event()
        thread = threading.Thread(target=lambda: pulse.watched(lambda: (begun.set(), work())))
        thread.start()
        threads.append(thread)
        assert begun.wait(10)

    yield start
    for thread in threads:
        thread.join(10)


def test_a_thread_with_nothing_to_do_is_well():
    pulse = Pulse(PATIENCE_S)
    assert pulse.beats(0.0)
    assert pulse.beats(1e6)


def test_a_thread_that_waits_is_not_for_longer_than_it_may(working, caplog, request):
    pulse, release = Pulse(PATIENCE_S), threading.Event()
    working(pulse, release.wait)
    request.addfinalizer(release.set)
    deadline_s = time.monotonic() + 60
    still_since_s = time.monotonic()
    while time.monotonic() < still_since_s + STILL_S:
        if time.clock_gettime_ns(pulse._thread_clock) != pulse._seen_ns:
            still_since_s = time.monotonic()
        assert pulse.beats(0.0)
        assert time.monotonic() < deadline_s
        time.sleep(0.01)  # it wants the interpreter to go to sleep
    assert pulse.beats(PATIENCE_S)
    assert not pulse.beats(PATIENCE_S + 0.1)
    assert not pulse.beats(PATIENCE_S + 5.0)
    assert [record.message for record in caplog.records] == [
        "archive.stalled seconds=10: the disk does not answer; see the kernel's log"
    ]
    release.set()
    while pulse._thread_clock is not None:
        assert time.monotonic() < deadline_s
    assert pulse.beats(PATIENCE_S + 6.0)


def test_a_thread_that_computes_is_well_however_long_it_takes(working):
    pulse, stop = Pulse(PATIENCE_S), threading.Event()

    def compute():
        while not stop.is_set():
            sum(range(1000))

    working(pulse, compute)
    clock = pulse._thread_clock
    deadline_s = time.monotonic() + 10
    for number in range(5):
        assert pulse.beats(number * 1000.0)
        seen_ns = time.clock_gettime_ns(clock)
        while time.clock_gettime_ns(clock) == seen_ns:
            assert time.monotonic() < deadline_s
    stop.set()


def test_without_a_service_manager_it_is_a_minute():
    assert Pulse(0.0)._patience_s == 60.0
