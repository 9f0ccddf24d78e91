"""Where samples lie: the `[data]` table of a device's configuration, and `[root_set]` of the aggregator's."""

from typing import Annotated, Literal

import msgspec

Kind = Literal["auto", "csv", "npz"]
Bound = Annotated[int, msgspec.Meta(ge=1)]


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file with samples, and how its columns are called."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """A table with a header line (.csv, .csv.gz) or named arrays (.npz)."""
    kind: Kind = "auto"
    """`auto` goes by the ending of `path`."""
    columns: dict[str, str] = {}
    """The job's name of a column → its name in this file, where the two differ."""
    delimiter: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] = ","
    """CSV only."""
    max_rows: Bound = 5_000_000
    """Rows above which the file is refused."""
    max_bytes: Bound = 1 << 30
    """Bytes, after inflation, above which the file is refused."""
