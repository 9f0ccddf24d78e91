"""`fedloom doctor`."""

import typer

from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import load_config
from aggregator.doctor import examine
from aggregator.findings_cli import report_findings

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """Typer would take a lone command for the application itself."""


@app.command("doctor")
def doctor(config: Config = CONFIG, as_json: AsJson = False) -> None:
    """Check clock, keys, disk, broker and what it permits, and say what to do. Ends with 1 if anything fails.

    With the aggregator stopped it also tries what the broker must deny.

    Examples:

      fedloom doctor --config aggregator.toml

      fedloom doctor --json
    """
    report_findings(examine(load_config(config)), as_json=as_json)
