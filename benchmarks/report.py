"""What a benchmark found: rows of ours, the peer's and the aim, as a table and as JSON."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One figure of one case; smaller is better in all of them."""

    case: str
    figure: str
    """What was measured, with its unit."""
    ours: float
    peer: float | None = None
    """None: not measured."""
    aim: float | None = None
    """`ours` shall be at most this; None: no aim was set."""
    note: str = ""
    """Stands in the peer's place when there is no number."""

    @property
    def ratio(self) -> float | None:
        """How many times more the peer needs."""
        return None if self.peer is None or self.ours == 0 else self.peer / self.ours

    @property
    def met(self) -> bool | None:
        """Whether the aim was reached."""
        return None if self.aim is None else self.ours <= self.aim


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--json FILE`, which every benchmark has."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here, as JSON")


def publish(rows: Sequence[Row], path: Path | None, peer: str = "flwr") -> None:
    """Print the table, with `peer` above its column, and write the rows to `path` if one is given."""
    print(table(rows, peer))
    if path:
        path.write_text(as_json(rows), encoding="utf-8")


def as_json(rows: Sequence[Row]) -> str:
    """A list of {case, figure, ours, peer, ratio, aim, met}; null is not measured, or no aim."""
    found = [
        {
            "case": row.case,
            "figure": row.figure,
            "ours": row.ours,
            "peer": row.peer,
            "ratio": row.ratio,
            "aim": row.aim,
            "met": row.met,
        }
        for row in rows
    ]
    return json.dumps(found, indent=1) + "\n"


def table(rows: Sequence[Row], peer: str = "flwr") -> str:
    """Columns: case, figure, ours, peer, peer ÷ ours, aim, met."""
    lines: list[tuple[str, ...]] = [("case", "figure", "fedloom", peer, "ratio", "aim", "met")]
    lines += [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = "  ".join("─" * width for width in widths)
    texts = [_aligned(line, widths) for line in lines]
    return "\n".join([texts[0], rule, *texts[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{_number(row.ratio)} ×"
    peer = _number(row.peer) if row.peer is not None else row.note
    aim = "" if row.aim is None else f"≤ {_number(row.aim)}"
    return row.case, row.figure, _number(row.ours), peer, ratio, aim, {None: "", True: "yes", False: "NO"}[row.met]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    padded[:2] = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    return "  ".join(padded).rstrip()


def _number(value: float) -> str:
    """Three significant digits, never an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
