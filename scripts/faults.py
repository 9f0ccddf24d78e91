"""Writes docs/faults.md, from the rows in tests/faults/faults_page.py and the record of the last long run.

python tests/faults/run.py --seeds 10000 --record    makes that record, and fails where an invariant does not hold
python scripts/faults.py                             then writes the page
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "faults.md"


def main() -> None:
    """Write the page."""
    sys.path.insert(0, str(ROOT / "tests" / "faults"))
    from faults_page import page  # type: ignore[import-not-found]

    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
