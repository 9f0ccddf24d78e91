"""No committed file may carry a trace of the machine that it was made on, a secret, or unfinished work.

The patterns are put together from pieces, so that this file does not match itself.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tracked import ROOT, tracked_files

SLASH = "/"
NAME = r"[a-z_][a-z0-9_-]*"
TRACES = {
    "a path of a build machine": rf"(?<![\w.$}}-]){SLASH}(?:work|root|Users{SLASH}\w+|home{SLASH}{NAME}){SLASH}",
    "the address of a package registry": r"\b(?:py" + r"pi|python" + r"hosted)\.org\b",
    "a private key": "-----BEGIN (?:[A-Z]+ )*" + "PRIVATE KEY-----",
    "unfinished work": r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b",
}


def traces_in(text: str) -> Iterator[tuple[int, str]]:
    """(line number, what is wrong) for each line that carries a trace."""
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in TRACES.items():
            if re.search(pattern, line):
                yield number, what


def problems(root: Path, files: Iterable[Path]) -> list[str]:
    """One line a trace; files that are not UTF-8 text are left out."""
    found: list[str] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(root)}:{number}: {what}" for number, what in traces_in(text)]
    return found


def main() -> int:
    """Exit status 1 if there is any."""
    found = problems(ROOT, tracked_files())
    print("\n".join(found) or "no traces")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
