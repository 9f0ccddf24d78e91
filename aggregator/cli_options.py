"""Options that commands have in common."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path, typer.Option("--config", help="The aggregator's configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CONFIG = Path("aggregator.toml")
