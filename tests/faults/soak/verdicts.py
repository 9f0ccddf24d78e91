"""What a soak shows: each requirement, the figure, and whether it is met."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from soak.run import Findings
from soak.samples import Sample, settled, slope

DONE_SHARE = 0.95
GROWTH_SHARE = 0.05
"""Of its mean, an hour, that the memory of a process may grow by, by the upper end of the confidence interval."""
GROWTH_FLOOR = 2 * 2**20
"""Bytes an hour that even the smallest process may: pages and allocators are not finer."""
MIN_SECONDS = 600.0
"""A run that is shorter says nothing about slow leaks: what is loaded once would look like one."""
ROUND_BYTES = 64 * 1024
"""What a round may leave behind at the aggregator for good; its updates go after `retention.rounds`."""
MIB = 2**20


class Verdict(NamedTuple):
    """A line of the table of results."""

    what: str
    figure: str
    is_met: bool | None
    """None: the run was too short to say."""


def judge(found: Findings) -> list[Verdict]:
    """Everything that the soak is for."""
    closed = found.done + found.aborted
    share = found.done / closed if closed else 0.0
    return [
        Verdict("rounds done", f"{found.done:,} of {closed:,} ({share:.1%}); at least 95 %", share >= DONE_SHARE),
        Verdict("invariants I1–I6", _count(found.violations, "violation"), not found.violations),
        Verdict("processes that ended by themselves", _count(found.unexpected, "time"), not found.unexpected),
        _memory("memory of the aggregator", [found.samples.get("hub", [])], found.seconds),
        _memory("memory of the broker", [found.samples.get("broker", [])], found.seconds),
        _memory("memory of a device that is never killed", _devices(found), found.seconds),
        _descriptors("file descriptors of the aggregator", [found.samples.get("hub", [])]),
        _descriptors("file descriptors of a device", _devices(found)),
        _device_disk(found),
        _aggregator_disk(found),
    ]


def _devices(found: Findings) -> list[list[Sample]]:
    return [samples for name, samples in sorted(found.samples.items()) if name.startswith("device")]


def _count(what: Sequence[str], noun: str) -> str:
    return f"{len(what)} {noun}{'' if len(what) == 1 else 's'}"


def _memory(what: str, runs: Sequence[Sequence[Sample]], end_s: float) -> Verdict:
    """Several processes of a kind are one: each without its own mean."""
    kept = [settled(samples, end_s) for samples in runs]
    means = [statistics.fmean(each.rss_bytes for each in samples) for samples in kept if samples]
    if not means:
        return Verdict(what, "not sampled", None)
    mean = statistics.fmean(means)
    lists = [samples for samples in kept if samples]
    points = [(each.at_s, each.rss_bytes - own) for own, samples in zip(means, lists, strict=True) for each in samples]
    line = slope(points)
    if line is None or end_s < MIN_SECONDS:
        return Verdict(what, f"{mean / MIB:.1f} MiB; for a slope, let it run for {MIN_SECONDS / 60:.0f} minutes", None)
    limit = max(GROWTH_SHARE * mean, GROWTH_FLOOR)
    figure = f"{mean / MIB:.1f} MiB, slope {line.per_hour / MIB:+.2f} ± {line.bound / MIB:.2f} MiB/h"
    is_met = True if line.per_hour + line.bound <= limit else False if line.per_hour - line.bound > limit else None
    return Verdict(what, f"{figure} (95 %); at most {limit / MIB:.1f}", is_met)


def _descriptors(what: str, runs: Sequence[Sequence[Sample]]) -> Verdict:
    """The middle of the last third is no higher than that of the first: single ones come and go."""
    firsts, lasts = [], []
    for samples in runs:
        third = len(samples) // 3
        if third >= 3:
            firsts.append(statistics.median(each.descriptors for each in samples[:third]))
            lasts.append(statistics.median(each.descriptors for each in samples[-third:]))
    if not firsts:
        return Verdict(what, "too few samples", None)
    growth = max(last - first for first, last in zip(firsts, lasts, strict=True))
    figure = f"median {max(firsts):.0f} in the first third, {max(lasts):.0f} in the last"
    return Verdict(what, figure, growth <= 0)


def _device_disk(found: Findings) -> Verdict:
    what = "state directory of a device"
    if len(found.disk) < 6:
        return Verdict(what, "too few samples", None)
    third = len(found.disk) // 3
    first = max(each.device for each in found.disk[:third])
    last = max(each.device for each in found.disk[-third:])
    figure = f"at most {first / 1024:.1f} KiB in the first third, {last / 1024:.1f} in the last (mean of all)"
    return Verdict(what, figure, last <= 1.25 * first)


def _aggregator_disk(found: Findings) -> Verdict:
    """After the first third the spool's retention is full: what still grows is the history of rounds."""
    what = "state directory of the aggregator"
    if len(found.disk) < 6:
        return Verdict(what, "too few samples", None)
    first, last = found.disk[len(found.disk) // 3], found.disk[-1]
    rounds = max(1, last.rounds - first.rounds)
    per_round = (last.aggregator - first.aggregator) / rounds
    figure = f"{last.aggregator / MIB:.1f} MiB at the end, {per_round / 1024:+.1f} KiB a round; at most 64"
    return Verdict(what, figure, per_round <= ROUND_BYTES)
