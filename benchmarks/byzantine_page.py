"""The tables of byzantine.py as text, as a page and as a heat map."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

Table = dict[tuple[str, str], float]
"""Accuracy by defence and attack."""

_HEAD = """# Devices that lie

What is left of a model's accuracy when some devices attack it, by strategy and attack. Made by
`benchmarks/byzantine.py`, which says how; do not edit.

- scikit-learn's digits: 1,337 samples on 20 devices, 360 to test on, 100 for the aggregator's root data set (`fltrust`
  alone uses it). A network 64-32-10, two local epochs a round, {rounds} rounds. Each figure is the median of {seeds}
  seeds, in per cent.
- "Evenly" deals the samples out at random; "Dirichlet 0.3" gives each device a few classes (Yurochkin et al. 2019,
  arXiv:1905.12022).
- Attackers know all honest updates of the round. `sign flip` sends what it has trained the wrong way, `×10` ten times
  as far; `noise` is standard normal; `label flip` trains with class c called 9 − c; `ALIE` hides within the honest
  spread (arXiv:1902.06156); `IPM` sends −ε times the honest mean (arXiv:1903.03936); a `free rider` sends zeros.
- Rules with an `f` are told how many attackers there are, `bulyan` at most the 4 that it can withstand among 20.
  `mixing` is `nearest_neighbour_mixing` before the rule; `robust = true` is told nothing.

![Accuracy by strategy and attack](byzantine.png)
"""


class Setting(NamedTuple):
    """Of one table."""

    alpha: float | None
    attackers: int
    devices: int

    def __str__(self) -> str:
        how = "evenly" if self.alpha is None else f"Dirichlet {self.alpha}"
        return f"{self.attackers} of {self.devices} attack, data dealt out {how}"


def as_text(table: Table) -> str:
    """Columns that line up, the least last."""
    names, attacks = _names(table), _attacks(table)
    width = max(map(len, names))
    head = " ".join(f"{attack:>10}" for attack in (*attacks, "least"))
    lines = [f"{name:{width}} " + " ".join(f"{cell:>10}" for cell in _cells(table, name)) for name in names]
    return "\n".join([" " * width + " " + head, *lines])


def as_markdown(tables: dict[Setting, Table], seeds: int, rounds: int) -> str:
    """The whole page."""
    parts = [_HEAD.format(seeds=seeds, rounds=rounds)]
    for setting, table in tables.items():
        columns = ("strategy", *_attacks(table), "least")
        lines = [columns, ("---",) * len(columns), *((f"`{name}`", *_cells(table, name)) for name in _names(table))]
        parts.append(f"## {setting}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return "\n".join(parts)


def draw(tables: dict[Setting, Table], path: Path) -> None:
    """A panel a setting."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = min(3, len(tables))
    rows = -(-len(tables) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(6.2 * columns, 4.6 * rows), squeeze=False, sharey=True)
    for panel, (setting, table) in zip(panels.flat, tables.items(), strict=True):
        names, attacks = _names(table), _attacks(table)
        values = [[100 * table[name, attack] for attack in attacks] for name in names]
        panel.imshow(values, vmin=0, vmax=100, cmap="RdYlGn", aspect="auto")
        panel.set_title(str(setting), fontsize=10)
        panel.set_xticks(range(len(attacks)), attacks, rotation=40, ha="right", fontsize=8)
        panel.set_yticks(range(len(names)), names, fontsize=8)
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                panel.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _cells(table: Table, name: str) -> Sequence[str]:
    values = [table[name, attack] for attack in _attacks(table)]
    return [f"{100 * value:.0f}" for value in (*values, min(values))]


def _names(table: Table) -> list[str]:
    return list(dict.fromkeys(name for name, _ in table))


def _attacks(table: Table) -> list[str]:
    return list(dict.fromkeys(attack for _, attack in table))
