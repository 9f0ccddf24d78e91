"""Writes docs/hostile-broker.md, from the scripts that the hostile broker of tests/security follows.

    python scripts/hostile_broker.py         runs every script against a federation, then writes the page
    python scripts/hostile_broker.py PATTERN only runs those whose name matches, and writes nothing

What was seen of each is shown; one that does not end as the page says ends this with status 1, and nothing is written.
"""

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "hostile-broker.md"


def main(pattern: str = "") -> int:
    """Run, judge, write; returns the exit status."""
    sys.path.insert(0, str(ROOT / "tests" / "security"))
    from adversary.arena import Arena, judge  # type: ignore[import-not-found]
    from adversary.table import CASES, page  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as directory, Arena(Path(directory) / "all") as arena:
        for case in CASES:
            if not re.search(pattern, case.name):
                continue
            seen = arena.play(case)
            rounds = " ".join(f"{each.outcome}:{each.accepted}" for each in seen.closed)
            refusals = ", ".join(f"{name} × {count}" for name, count in sorted(seen.refusals.items()))
            print(f"{case.name:36} {rounds:80} {refusals}")
            try:
                judge(case, seen)
            except AssertionError as error:
                print(f"{case.name}: is not what the page says: {error}", file=sys.stderr)
                return 1
    if not pattern:
        PAGE.write_text(page(), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
