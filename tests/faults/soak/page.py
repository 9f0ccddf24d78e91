"""Writes what a soak has shown: a page for docs/, with a picture of memory over time beside it."""

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from xml.sax.saxutils import escape

from soak.run import Findings
from soak.samples import Sample
from soak.verdicts import Verdict

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 260, 60, 30, 12
_COLOURS = {"hub": "#2563eb", "broker": "#ea580c", "device": "#059669"}
_NAMES = {"hub": "aggregator", "broker": "broker", "device": "devices that are never killed"}
_MARKS = {True: "yes", False: "**no**", None: "cannot be said"}

_PAGE = """\
# Soak: {minutes:.0f} minutes under random faults

Written by `{command}` on {machine}; do not edit.

A real Mosquitto, an aggregator and {devices} device daemons, each a process of its own, work at one job with a
deadline of 8 s a round, a cohort of half the devices (over-selected by 1.5) and a quorum of 60 %. Every {every:g} s
on average, at times and on targets drawn from the seed, somebody is killed, hangs or loses its storage; whoever has
ended is started again after a second, as a service manager would. {spared} devices are never killed, so that slow
leaks show. Afterwards the databases, the devices' states and all logs are compared.

## Result

| requirement | figure | met |
|---|---|---|
{verdicts}

A round took {median:.2f} s (median), {p99:.1f} s (99th percentile), {longest:.1f} s at worst; {receipts:,} updates
were accepted.

![Memory over time](soak.svg)

Memory is the resident set of processes older than 10 s, the first fifth of the run left out. The line goes through
the medians of 20 stretches, since neighbouring samples are alike; ± is its 95 % confidence bound. "Cannot be said": the
bound is wider than the limit, or the run too short.

## Faults

| what was done | times |
|---|---|
{faults}

Restarts: {restarts}.
{problems}"""


def write_page(directory: Path, command: str, found: Findings, verdicts: Sequence[Verdict]) -> None:
    """Fill `directory` with soak.md and soak.svg."""
    seconds = sorted(found.round_seconds) or [0.0]
    servers = ", ".join(f"{_NAMES[name]} {found.restarts[name]}" for name in ("hub", "broker"))
    devices = sum(times for name, times in found.restarts.items() if name.startswith("device"))
    text = _PAGE.format(
        minutes=found.plan.seconds / 60,
        command=command,
        machine=machine(),
        devices=found.plan.devices,
        spared=found.plan.spared,
        every=found.plan.every_s,
        verdicts="\n".join(f"| {each.what} | {each.figure} | {_MARKS[each.is_met]} |" for each in verdicts),
        median=statistics.median(seconds),
        p99=seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))],
        longest=seconds[-1],
        receipts=found.receipts,
        faults="\n".join(f"| {kind} | {times} |" for kind, times in found.faults.most_common()),
        restarts=f"{servers}, devices {devices}",
        problems=_problems([*found.violations, *found.unexpected]),
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "soak.md").write_text(text, encoding="utf-8")
    (directory / "soak.svg").write_text(picture(found.samples), encoding="utf-8")


def machine() -> str:
    """What it ran on, without its name."""
    python = f"Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {python}, fedloom {version('fedloom')}"


def _problems(problems: Sequence[str]) -> str:
    return "\n## Problems\n\n" + "\n".join(f"- {each}" for each in problems[:50]) + "\n" if problems else ""


def picture(samples: dict[str, list[Sample]]) -> str:
    """Resident memory in MiB over minutes, as SVG."""
    end_s = max((each.at_s for run in samples.values() for each in run), default=1.0) or 1.0
    top = 1.1 * max((each.rss_bytes for run in samples.values() for each in run), default=1) / 2**20

    def x(at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * at_s / end_s

    def y(mib: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - mib / top)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for step in range(5):
        mib = top * step / 4
        parts.append(f'<path d="M{LEFT} {y(mib):.1f}H{WIDTH - 10}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(mib) + 4:.1f}" font-size="11" text-anchor="end">{mib:.0f} MiB</text>')
        minutes = end_s * step / 4 / 60
        parts.append(f'<text x="{x(60 * minutes):.1f}" y="{HEIGHT - 8}" font-size="11">{minutes:.1f} min</text>')
    for name, run in sorted(samples.items()):
        kind = "device" if name.startswith("device") else name
        points = " ".join(f"{x(each.at_s):.1f},{y(each.rss_bytes / 2**20):.1f}" for each in run)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_COLOURS[kind]}" stroke-width="1"/>')
    for number, (kind, title) in enumerate(_NAMES.items()):
        place = f'x="{WIDTH - 220}" y="{TOP + 14 + 15 * number}"'
        parts.append(f'<text {place} font-size="11" fill="{_COLOURS[kind]}">{escape(title)}</text>')
    return "\n".join([*parts, "</svg>", ""])
