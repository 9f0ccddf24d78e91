"""The page that lists every script of the hostile broker: docs/hostile-broker.md."""

from collections.abc import Iterable

from adversary.cases import Case
from adversary.entries import Entry
from adversary.entry_table import ENTRIES
from adversary.fleet import DEVICES
from adversary.table import CASES

_INTRODUCTION = """\
# The hostile broker

<!-- Written by scripts/hostile_broker.py; a test compares it with the scripts that there are. -->

A broker between real clients and a real Mosquitto that does not do what brokers do.

## Rounds

Each script below is followed for some rounds of a running federation of {devices} devices, and then lets go. After
each, all of these hold; they are checked against the aggregator's database and spool, the devices' state and logs, and
every byte that clients handed in:

- **I1** A fused model is, bit for bit, the fusion of the accepted updates, and each of those was sent by its device.
- **I2** An update whose receipt a device saw is in the fused model, or in a round that was aborted.
- **I3** A committed round never disappears and never changes.
- **I4** A device accepts only manifests that the aggregator has signed, each newer than the one before.
- **I5** Every round is done or aborted within its deadline and some grace, the next one opens, and once the script lets
  go, every device takes part again.
- **I6** No key, weight or name crosses the broker in clear; no key or weight appears in a log.
- **I9** Every model is finite.

A device whose answers are missing in an attempt that is aborted sits out 1, 2, 4 … rounds, or until it says something.
Where the last column but one has a †, it connects anew when the script lets go: nothing else outranks its own will.

`device: …` is a device's reason to refuse, `receipt: …` the aggregator's answer, `aggregator: dropped` what the
aggregator drops without an answer: what is not believed, and what it throttles. Tests fail if one of these is not seen.

| the broker | must hold | what becomes of the rounds | refused as |
|---|---|---|---|
"""
_JOINING = """
## Joining, renewing, following the root

Each script below is followed while devices join with tokens, are renewed because their credential is due, or run while
the root document is replaced. After each, every device has joined, holds a credential that lasts, or has followed the
newest root document, and all of these hold; they are checked against the registrar's database, the devices' keys and
logs, and every byte that clients handed in:

- **J1** A token that was used has let in exactly one device, the one that holds the keys; nobody else is in the books.
- **J2** Device and registrar agree on credential and certificate, byte for byte.
- **J3** The registrar answers only what a device has said itself, and that device alone.
- **J4** No token's secret, no key and no name that is wished for crosses the broker in clear; no secret and no key
  appears in a log.
- **J5** A device holds only root documents of the genuine chain, and never goes back to an older one.

| the broker | must hold | joining, renewing or following is | refused as |
|---|---|---|---|
"""


def page(cases: Iterable[Case] = CASES, entries: Iterable[Entry] = ENTRIES) -> str:
    """The text of docs/hostile-broker.md."""
    rounds = _INTRODUCTION.format(devices=len(DEVICES)) + "".join(_row(case) for case in cases)
    return rounds + _JOINING + "".join(_entry_row(entry) for entry in entries)


def _row(case: Case) -> str:
    outcome = case.outcome.value + (" †" if case.reconnects else "")
    return f"| **{case.name}**: {case.does} | {case.holds} | {outcome} | {_refused(case.refusals)} |\n"


def _entry_row(entry: Entry) -> str:
    end = entry.ends.value + (" †" if entry.reconnects else "")
    return f"| **{entry.name}**: {entry.does} | {entry.holds} | {end} | {_refused(entry.refusals)} |\n"


def _refused(refusals: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in refusals) or "–"
