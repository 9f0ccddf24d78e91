"""How long an update waits for its receipt, and what a crash has left beside it."""

from collections.abc import Callable
from typing import Any

import pytest
from session_parts import ANSWER, only

from edge_client.events import DropOutbox, Log, Started, StoreOutbox, Tick, Trained


def test_an_update_that_nobody_answers_is_given_up_with_its_residual(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(max_outbox_age_s=1000.0)
    bench.up()
    bench.do(Trained(bench.work(), ANSWER))
    entry = bench.session._delivery.entry
    bench.now_s += 999.0
    assert only(bench.do(Tick()), DropOutbox) == []
    bench.now_s += 1.0
    assert [action.digest for action in only(bench.do(Tick()), DropOutbox)] == [entry.digest]
    assert (bench.state.residual, bench.session._delivery.entry) == (b"", None)


@pytest.mark.parametrize(("age_s", "is_kept"), [(10.0, True), (-3e8, True), (1000.0, False), (3e8, False)])
def test_over_a_restart_its_age_is_what_the_clock_says(
    make_bench: Callable[..., Any], age_s: float, is_kept: bool
) -> None:
    """Set back, the clock makes it young; set ten years ahead, old."""
    first = make_bench()
    first.up()
    (stored,) = only(first.do(Trained(first.work(), ANSWER)), StoreOutbox)
    again = make_bench(first.state, (stored.entry,), max_outbox_age_s=1000.0)
    actions = [*again.do(Started(((stored.entry.digest, age_s),))), *again.do(Tick())]
    assert (only(actions, DropOutbox) == []) is is_kept


def test_of_two_updates_that_a_crash_has_left_one_is_dropped_aloud(make_bench: Callable[..., Any]) -> None:
    first = make_bench()
    first.up()
    (stored,) = only(first.do(Trained(first.work(), ANSWER)), StoreOutbox)
    other = stored.entry.__class__(b"o" * 32, stored.entry.manifest, stored.entry.job, False, b"blob")
    again = make_bench(first.state, (stored.entry, other))
    actions = again.do(Started())
    assert [action.digest for action in only(actions, DropOutbox)] == [b"o" * 32]
    assert [action.text.split()[0] for action in only(actions, Log)] == ["outbox.dropped"]
