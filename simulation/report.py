"""Writes what the demo leaves behind: plots, the model in both formats, the job, and a short HTML page."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from fedloom.learning.model import Model
from fedloom.learning.model_file import save
from fedloom.learning.onnx_export import export_onnx
from simulation import plots
from simulation.demo import Case, Row, Verdict
from simulation.history import History
from simulation.pages import write_page


def write_report(
    directory: Path, case: Case, model: Model, history: History, rows: Sequence[Row], verdicts: Sequence[Verdict]
) -> None:
    """Fill `directory` with report.html, accuracy.svg, comparison.svg, model.onnx, model.fedloom and job.toml."""
    by_name = {row.name: row.accuracies for row in rows}
    alone = [row.accuracies for row in rows if row.name.startswith("device ")]
    references = (("all data pooled", by_name["all data pooled"][1]), ("alone, mean", by_name["alone, mean"][1]))
    curve = plots.learning_curve(history.rounds, history.series("accuracy"), references)
    titles = (case.unseen_title, case.holdout_title)
    bars = plots.comparison(titles, list(zip(*alone, strict=True)), by_name["federated"], by_name["all data pooled"])
    (directory / "accuracy.svg").write_text(curve, encoding="utf-8")
    (directory / "comparison.svg").write_text(bars, encoding="utf-8")
    save(model, directory / "model.fedloom")
    export_onnx(model, directory / "model.onnx")
    shutil.copyfile(case.job_path, directory / "job.toml")
    write_page(
        directory / "report.html",
        "report.html",
        case.title,
        case.lead,
        columns=titles,
        rows=rows,
        verdicts=verdicts,
        curve=curve,
        bars=bars,
        facts=facts(case, history),
        job=case.job_path.read_text(encoding="utf-8"),
        ideas=ideas(case, directory),
    )


def facts(case: Case, history: History) -> list[tuple[str, str]]:
    """What it cost, name and value."""
    rounds = len(history.seconds)
    per_update = sum(history.update_bytes) / max(1, rounds * len(case.devices))
    typical = sorted(history.seconds)[rounds // 2] if rounds else 0.0
    size, sent = case.job.model.layout().size, case.job.shared_layout.size
    weights = f"{size:,}" if sent == size else f"{size:,}, {sent:,} of them"
    return [
        ("left each device", f"{per_update / 1024:.0f} KiB of sealed weight differences a round; no sample, no label"),
        ("rounds", f"{rounds}, {1000 * typical:.0f} ms each (median), training included"),
        ("weights", f"{weights} sent as {case.job.update.encoding}"),
    ]


def ideas(case: Case, directory: Path) -> list[str]:
    """What to try next."""
    smaller = (
        f"in a copy of {case.job_path}, let update.encoding be 'int8': a quarter of the bytes; then "
        f"fedloom simulate COPY --data {case.devices[0].parent} --processes {len(case.devices)}"
    )
    return [
        f"fedloom model show {directory / 'model.fedloom'}",
        smaller,
        "docs/getting-started.md: the same with devices of your own; docs/operations.md: on real hosts",
    ]
