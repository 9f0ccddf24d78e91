"""The documentation cannot rot: links lead somewhere, and the reference of every configuration agrees with the code."""

import sys
from pathlib import Path

import msgspec
from check_links import broken_links
from check_reference import disagreements
from tracked import ROOT, tracked_files

from fedloom.job import Job

REFERENCES: list[tuple[type[msgspec.Struct], Path]] = [
    (Job, ROOT / "docs" / "job.md"),
]


def problems() -> list[str]:
    """One line for each thing that the documentation has wrong."""
    found = broken_links(ROOT, tracked_files())
    for kind, page in REFERENCES:
        found += disagreements(kind, page)
    return found


def main() -> int:
    """Exit status 1 if there is any."""
    found = problems()
    print("\n".join(found) or "links and references are right")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
