"""How commands that look for faults print what they find."""

from collections.abc import Iterable

import msgspec
import typer

from fedloom.health.findings import Finding, describe, has_failed


def report_findings(findings: Iterable[Finding], *, as_json: bool) -> None:
    """A line for each as it is found, or all of them as JSON.

    Raises:
        typer.Exit: with 1 if anything has failed.
    """
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            typer.echo(describe(finding))
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    raise typer.Exit(1 if has_failed(found) else 0)
