"""Whether receipts, spool and model of a round tell the same: each accepted update counted once, and no other (I1)."""

from collections.abc import Iterator

from sqlalchemy import select

from aggregator import spool
from aggregator import tables as t
from aggregator.past_rounds import PastRound
from aggregator.recompute import Sources
from aggregator.store import Store
from fedloom.wire.messages import Phase, Verdict


def disagreements(past: PastRound, store: Store, given: Sources) -> Iterator[str]:
    """One line for each."""
    columns = (t.updates.c.device, t.updates.c.verdict, t.updates.c.spool_offset)
    query = select(*columns).where(t.updates.c.counted_in == past.opened.manifest_version)
    with store.engine.connect() as connection:
        rows = list(connection.execute(query))
    for row in rows:
        is_accepted, is_spooled = row.verdict == Verdict.ACCEPTED.value, row.spool_offset is not None
        if is_accepted != is_spooled:
            what = "has a receipt, but is not in the spool" if is_accepted else "is in the spool without a receipt"
            yield f"the update of device {row.device.hex()} {what}"
    yield from spool.damage(given.segment, given.entries)
    yield from _overlaps(given)
    made = past.model
    counts = len({entry.device for entry in given.entries}), sum(entry.samples for entry in given.entries)
    if made and past.opened.phase is not Phase.EVALUATE and (made.devices, made.samples) != counts:
        recorded = f"{made.devices} devices with {made.samples} samples"
        yield f"the model counts {recorded}, the receipts {counts[0]} with {counts[1]}"


def _overlaps(given: Sources) -> Iterator[str]:
    end = 0
    for entry in sorted(given.entries, key=lambda each: each.offset):
        if entry.offset < end:
            yield f"{given.segment}: two receipts point to the record at {entry.offset}"
        end = entry.offset + entry.length
