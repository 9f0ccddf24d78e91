"""What happened when, as JSON lines in a file that the benchmark reads."""

import json
import time
from pathlib import Path


def record(path: str, event: str) -> None:
    """Append `event` with CLOCK_MONOTONIC, which all processes of a Linux machine share."""
    line = json.dumps({"event": event, "at_s": time.monotonic()})
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
