"""Writes docs/hostile-broker.md, from the scripts that the hostile broker of tests/security follows.

    python scripts/hostile_broker.py         runs every script against a federation, then writes the page
    python scripts/hostile_broker.py PATTERN only runs those whose name matches, and writes nothing

What was seen of each is shown; one that does not end as the page says ends this with status 1, and nothing is written.
"""

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "hostile-broker.md"


def main(pattern: str = "") -> int:
    """Run, judge, write; returns the exit status."""
    sys.path.insert(0, str(ROOT / "tests" / "security"))
    from adversary.page import page  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as directory:
        try:
            _play_rounds(Path(directory), pattern)
            _play_joining(Path(directory), pattern)
        except AssertionError as error:
            print(f"is not what the page says: {error}", file=sys.stderr)
            return 1
    if not pattern:
        PAGE.write_text(page(), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


def _play_rounds(directory: Path, pattern: str) -> None:
    from adversary.arena import Arena, judge  # type: ignore[import-not-found]
    from adversary.table import in_order  # type: ignore[import-not-found]

    chosen = [case for case in in_order() if re.search(pattern, case.name)]
    if not chosen:
        return
    with Arena(directory / "rounds") as arena:
        for case in chosen:
            seen = arena.play(case)
            rounds = " ".join(f"{each.outcome}:{each.accepted}" for each in seen.closed)
            print(f"{case.name:36} {rounds:80} {_listed(seen.refusals)}")
            judge(case, seen)


def _play_joining(directory: Path, pattern: str) -> None:
    from adversary.entrance import Entrance  # type: ignore[import-not-found]
    from adversary.entries import judge_entry  # type: ignore[import-not-found]
    from adversary.entry_table import ENTRIES  # type: ignore[import-not-found]

    chosen = [entry for entry in ENTRIES if re.search(pattern, entry.name)]
    if not chosen:
        return
    with Entrance(directory / "joining") as entrance:
        for entry in chosen:
            seen = entry.play(entrance, entry)
            print(f"{entry.name:36} {_listed(seen)}")
            entrance.audit()
            judge_entry(entry, seen)


def _listed(refusals: Mapping[str, int]) -> str:
    return ", ".join(f"{name} × {count}" for name, count in sorted(refusals.items()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
