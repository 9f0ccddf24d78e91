"""How the costs of a run are told: in the unit in which the largest of them is a number that people read."""

from typing import NamedTuple

from simulation.history import Axis

TITLES: dict[Axis, str] = {
    "rounds": "rounds",
    "seconds": "time on this machine",
    "update_bytes": "updates sent",
    "model_bytes": "models sent",
    "simulated_s": "simulated time",
    "energy_j": "energy of all devices",
}


class Unit(NamedTuple):
    """Of a cost."""

    size: float
    """In the History's units."""
    name: str
    """Empty of what is counted."""

    def titled(self, axis: Axis, until: str = "") -> str:
        """For an axis of a plot, or the head of a column of what was spent `until` something."""
        return f"{TITLES[axis]}{until}, {self.name}" if self.name else f"{TITLES[axis]}{until}"


_BYTES = (Unit(1e9, "GB"), Unit(1e6, "MB"), Unit(1e3, "kB"), Unit(1.0, "B"))
_TIMES = (Unit(86400.0, "d"), Unit(3600.0, "h"), Unit(60.0, "min"), Unit(1.0, "s"))
_ENERGIES = (Unit(3.6e6, "kWh"), Unit(3600.0, "Wh"), Unit(1.0, "J"))
_UNITS: dict[Axis, tuple[Unit, ...]] = {
    "rounds": (Unit(1.0, ""),),
    "seconds": _TIMES,
    "update_bytes": _BYTES,
    "model_bytes": _BYTES,
    "simulated_s": _TIMES,
    "energy_j": _ENERGIES,
}


def unit_of(axis: Axis, largest: float) -> Unit:
    """The unit for costs up to `largest`, which are in the History's units.

    >>> unit_of("simulated_s", 5400.0).titled("simulated_s"), unit_of("update_bytes", 0.0).name
    ('simulated time, h', 'B')
    """
    units = _UNITS[axis]
    return next((unit for unit in units if largest >= unit.size), units[-1])
