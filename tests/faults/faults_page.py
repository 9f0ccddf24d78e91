"""The page of faults: docs/faults.md, from the rows below and the record of the last long run of the simulation."""

import json
from pathlib import Path
from typing import NamedTuple

RECORD = Path(__file__).parent / "record.json"
SIMULATED = "simulation"
_COUNTED = {
    "is killed %s": "processes killed between two of their steps",
    "loses its power%s": "power cuts of the machine of a killed process",
    "has a bad disk: %s: %s": "errors of a disk (EIO, ENOSPC)",
    "a write finds the disk full": "files of which a full disk took a part",
    "dies and forgets everything": "deaths of the broker, with all its state",
    "partition of %s": "partitions of one client, half-open connections among them",
    "cut of %s": "connections cut",
    "loses %s of %s": "messages lost",
    "flips a bit of byte %d in %s of %s": "messages with a flipped bit",
    "reorders what waits for %s": "reorderings of what waits for a client",
    "an old copy of its state is restored": "state directories restored from an old copy",
    "%s takes the place of another client with its id": "takeovers between two hosts with the same keys",
}


class Row(NamedTuple):
    """A fault and what must come of it."""

    who: str
    fault: str
    injected: str
    outcome: str
    tested: str
    """Where: "simulation", or files below tests/, each in backticks."""


ROWS = (
    Row(
        "device",
        "killed at any step",
        "SIGKILL before each action of the session, before and after each fsync",
        "the same bytes are sent again, or the round is trained anew and one update counts",
        "simulation; `faults/processes/test_failpoints.py`",
    ),
    Row(
        "device",
        "power loss",
        "what was not fsynced is lost, kept or torn, name by name and file by file",
        "no update was published that is not on disk; no number is used twice; no older manifest is followed",
        SIMULATED,
    ),
    Row(
        "device",
        "disk full, EIO on fsync",
        "ENOSPC at creation and in the middle of a write, EIO at each fsync, whose data never reach the disk",
        "it stops, starts again and recovers from disk; the fsync is never tried again",
        "simulation; `faults/processes/test_disk.py`, `faults/processes/test_fsync.py`",
    ),
    Row(
        "device",
        "state directory restored from an old copy",
        "the directory is copied, and put back while the job goes on",
        "at most one update a round counts; the others finish",
        "simulation; `faults/processes/test_copies.py`",
    ),
    Row(
        "device",
        "a damaged file of its state",
        "flipped, cut and missing bytes, by hand",
        "named and set aside, never reset in silence; `fedloom-edge repair` goes on",
        "`edge_client/test_repair.py`, `edge_client/test_outbox.py`",
    ),
    Row(
        "device",
        "clock off by ten years",
        "the wall clock of the first device, ten years ahead or behind",
        "it trains like the others: nothing is decided by it",
        "simulation; `faults/processes/test_clock.py`",
    ),
    Row(
        "device",
        "the same keys on two hosts",
        "a second process on a copy of keys and state, under the same client id",
        "both take the other's place; at most one update a round counts",
        "simulation; `faults/processes/test_copies.py`",
    ),
    Row(
        "device",
        "slow, silent or unwilling",
        "training that takes longer than a round, declined rounds, over-selected cohorts",
        "late updates are told so and not counted; no round lasts longer than its deadline",
        SIMULATED,
    ),
    Row(
        "device",
        "malicious: NaN, wrong length, huge sample count, infinite loss, metrics of garbage",
        "valid keys, and updates that are not valid",
        "rejected with a reason; every model is finite",
        "simulation; `security/test_hostile_device.py`",
    ),
    Row(
        "broker",
        "dies with all its state",
        "sessions, queues and retained messages are gone, in any phase",
        "the aggregator says everything again; a round is late at worst",
        "simulation; `faults/processes/test_broker_dies.py`",
    ),
    Row(
        "broker",
        "loses, repeats, reorders, delays, flips a bit",
        "each message, on its way in and on its way out; copies come up to minutes later",
        "nothing altered or old is believed; delay at worst",
        "simulation; `security/test_hostile_broker.py`",
    ),
    Row(
        "broker",
        "publishes wills at once, or after 30 seconds",
        "at each broken connection",
        "a device that is back is not taken for lost",
        SIMULATED,
    ),
    Row(
        "network",
        "partition, half-open connection",
        "one client hears and says nothing for up to 100 s; both ends notice after a keepalive",
        "the round goes on without it, or waits for its deadline",
        SIMULATED,
    ),
    Row(
        "network",
        "loses and cuts transfers of many messages",
        "losses, cuts and deaths of both ends in the middle of models and updates, in any order",
        "they go on where they were; what has arrived is not sent again (`benchmarks/transfer.py` measures it)",
        "`edge_client/test_transfer.py`, `edge_client/test_daemon.py`",
    ),
    Row(
        "aggregator",
        "killed at any step",
        "SIGKILL before each action of the core, each fsync and each statement of the database",
        "the same round and attempt go on; no committed round disappears or changes; no receipt is taken back",
        "simulation; `faults/processes/test_failpoints.py`",
    ),
    Row(
        "aggregator",
        "power loss",
        "as for devices; what SQLite has committed stays",
        "each accepted receipt that was sent is for an update that is on disk",
        SIMULATED,
    ),
    Row(
        "aggregator",
        "disk full, EIO on fsync or commit",
        "as for devices, and at each commit",
        "it refuses rather than acknowledges and loses: it stops, starts again and recovers",
        "simulation; `faults/processes/test_disk.py`, `faults/processes/test_fsync.py`",
    ),
    Row(
        "aggregator",
        "a disk that does not answer",
        "a write that never returns",
        "the service manager kills it, and it starts again",
        "`faults/processes/test_watchdog.py`",
    ),
    Row(
        "aggregator",
        "a flipped byte in the database or its log",
        "by hand, anywhere",
        "refused at the start; the error names what is damaged and the newest backup",
        "`aggregator/store/test_row_checks.py`, `aggregator/store/test_log_check.py`",
    ),
    Row(
        "aggregator",
        "a damaged model, state of the strategy or spool",
        "flipped, cut and missing bytes, by hand",
        "made again from the spool, or the attempt is aborted in public, or it does not start",
        "`aggregator/test_damage.py`, `aggregator/test_resume.py`",
    ),
    Row(
        "aggregator",
        "two instances, an old copy of its state",
        "two processes on one directory, and on two copies",
        "the second one stops before it says anything",
        "`faults/processes/test_copies.py`, `aggregator/store/test_lease.py`, `aggregator/test_rival.py`",
    ),
    Row(
        "aggregator",
        "lost with its disk, and restored from a backup",
        "rounds after the backup are lost, in a fleet of real processes",
        "they are done again; the final model is that of an undisturbed run",
        "`end_to_end/test_restore.py`, `aggregator/backup/test_backup.py`",
    ),
)
_INTRODUCTION = """\
# Faults

<!-- Written by scripts/faults.py; a test compares it with the rows and the record that there are. -->

What is made to fail, and what comes of it. *Simulation* is `tests/faults/sim`: the real cores of an aggregator and two
to five devices, with their real files, in one process on a virtual clock, for jobs of rounds and asynchronous ones. One
seed decides what is built, what breaks and when; the same seed is the same run. After each run these hold:

- **I1, I2** Device k trains to the k-th one-hot vector, so a fused model shows whose updates are in it: those with an
  `accepted` receipt, none twice, none missing. A receipt is sent for what is durable, and is never contradicted while
  its round or the one after is open.
- In jobs with SCAFFOLD, a quarter of all, a device's control variate has advanced with each of its updates that are in
  a model and with no other, in each round and at the end, and the server's sum has.
- **I3** A committed round or model never disappears and never changes its hash; what is published is
  durable.
- **I4** A device follows only manifests that the aggregator has published, each newer than the one before.
- **I5** Once nothing breaks any more, something comes to its end at least every two deadlines and a minute, and all
  that is honest finishes with the same model.
- **I7** No more files, segments and updates are left than there are rounds and devices.
- **I9** Every model is finite.
- What is known of devices for choosing a cohort is on disk as in memory, and is what they were asked and have answered.
- An update is durable before it is published, and a device has one for a manifest. A sequence number stands for one
  content. No key of a closed round is on the aggregator's disk.

`make test` plays 300 seeds; `make faults SEEDS=10000 SEED_START=1` as many as you like. {mutations} guarantees are
broken on purpose by `tests/faults/test_mutations.py`, and each is noticed within 60 seeds.

| who | fault | what is injected | outcome | tested by |
|---|---|---|---|---|
"""
_RECORD = """
## The last long run

{seeds:,} seeds from {start}: **0 violations**. In them were:

| what | times |
|---|---|
"""


def page() -> str:
    """The text of docs/faults.md."""
    from sim.mutations import MUTATIONS

    record = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = "".join(f"| {' | '.join(row)} |\n" for row in ROWS)
    counts = "".join(f"| {words} | {record['counts'].get(what, 0):,} |\n" for what, words in _COUNTED.items())
    return _INTRODUCTION.format(mutations=len(MUTATIONS)) + rows + _RECORD.format(**record) + counts
