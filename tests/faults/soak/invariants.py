"""What must hold whatever was done to whom: see the invariants of the protocol (docs/protocol.md)."""

import base64
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from aggregator.notices import RoundClosed
from edge_client.outbox import StateDirectory
from soak.federation import CANARIES, DEADLINE_S
from soak.ledger import Ledger

GRACE_S = 15.0
"""Besides a deadline's time a life: closing, restarting, waiting for devices."""
_RECEIPT = re.compile(rb"receipt\.came verdict=(\w+) digest=([0-9a-f]+)")


def check_fusions(ledger: Ledger, notices: Sequence[RoundClosed]) -> Iterable[str]:
    """I1: each model is made of exactly the updates that were accepted, as database and notices say independently."""
    counted = Counter(into for _, verdict, into in ledger.updates.values() if verdict == "accepted")
    done = {(each.round, each.attempt, each.phase): each for each in ledger.rounds.values() if each.status == "done"}
    for each in done.values():
        made_of = ledger.models.get(each.round)
        if each.phase == "train" and made_of and counted[each.version] != made_of[1]:
            yield f"I1: round {each.round} has {counted[each.version]} accepted updates, its model is of {made_of[1]}"
    for notice in notices:
        place = (notice.round, notice.attempt, notice.phase.value)
        kept = counted[done[place].version] if place in done else notice.accepted
        if notice.outcome == "done" and kept != notice.accepted:
            yield f"I1: round {place} was closed with {notice.accepted} updates, {kept} are kept"


def check_receipts(ledger: Ledger, device: bytes, log: Path) -> Iterable[str]:
    """I2: what a device was told of its updates is what the aggregator has on disk, and it was told so once a round."""
    kept = {digest.hex(): verdict for (_, of), (digest, verdict, _) in ledger.updates.items() if of == device}
    for verdict, short in {match.groups() for match in _RECEIPT.finditer(log.read_bytes())}:
        if verdict == b"accepted" and "accepted" not in _of(kept, short.decode()):
            yield f"I2: {log.stem} saw a receipt for {short.decode()}, which the aggregator does not have"


def _of(kept: dict[str, str], short: str) -> list[str]:
    return [verdict for digest, verdict in kept.items() if digest.startswith(short)]


def check_device(ledger: Ledger, name: str, directory: StateDirectory) -> Iterable[str]:
    """I4: a device has accepted nothing that the aggregator has not committed."""
    state = directory.read().state
    if state is None or state.manifest_version == 0:
        return
    committed = ledger.rounds.get(state.manifest_version)
    if committed is None or committed.hash != state.manifest_hash:
        yield f"I4: {name} follows manifest {state.manifest_version}, which the aggregator has never committed"


def check_time(ledger: Ledger, lives: int) -> Iterable[str]:
    """I5: a round is closed in time; each new process of the aggregator gives it a deadline's time again."""
    for each in ledger.rounds.values():
        took_s = (each.closed_at or each.opened_at) - each.opened_at
        if took_s > (DEADLINE_S + GRACE_S) * (1 + lives):
            yield f"I5: round {each.round}, attempt {each.attempt} took {took_s:.0f} s"


class Canaries:
    """I6: secrets that must be nowhere in what the broker keeps, and in no log."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self._needles: dict[bytes, str] = {name.encode(): name for name in CANARIES}

    def learn(self, key_files: Iterable[Path]) -> None:
        """Private keys, as they are and as they could be printed."""
        for path in key_files:
            secret = path.read_bytes()
            if secret.startswith(b"-----"):
                secret = base64.b64decode(b"".join(secret.splitlines()[1:-1]))[36:]  # behind what all P-256 keys share
            for form in (secret[:24], secret[:24].hex().encode(), base64.b64encode(secret[:24])):
                self._needles[form] = str(path.name)

    def search(self, paths: Iterable[Path]) -> None:
        """Look for all of them."""
        for path in paths:
            data = path.read_bytes()
            self.hits += [f"I6: {path.name} holds {what}" for needle, what in self._needles.items() if needle in data]
