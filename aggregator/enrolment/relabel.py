"""Changes the labels of a device that is in, as the operator wants; the running aggregator takes notice by itself."""

from collections.abc import Collection, Mapping

import msgspec
from sqlalchemy import select, update

from aggregator import tables as t
from aggregator.labels import MAX_LABELS
from aggregator.store import Store, is_id
from fedloom.errors import ConfigError
from fedloom.suggest import closest


def relabel(store: Store, name: str, labels: Mapping[str, str], removed: Collection[str]) -> dict[str, str]:
    """Take labels from a device, named by its name or its id (hex), then add others; returns what it has now.

    Raises:
        ConfigError: there is no such device, or it has not the label that is to go, or too many.
    """
    devices = t.devices.c
    with store.exclusively() as connection:
        row = connection.execute(select(t.devices).where((devices.name == name) | is_id(devices.id, name))).first()
        if row:
            known = msgspec.json.decode(row.labels, type=dict[str, str])
            _check_removed(name, known, removed)
            kept = {key: value for key, value in known.items() if key not in removed} | dict(labels)
            if len(kept) > MAX_LABELS:
                problem = f"{len(kept)} labels, {MAX_LABELS} allowed"
                raise ConfigError("device label", "KEY=VALUE", problem, "take some away: --remove KEY")
            values = {"labels": msgspec.json.encode(kept).decode()}
            connection.execute(update(t.devices).where(devices.id == row.id).values(values))
            return kept
    near = closest(name, [device.name for device in store.devices()])
    remedy = f"did you mean {near!r}?" if near else "see: fedloom device list"
    raise ConfigError("device label", "NAME", f"{name!r} is not known", remedy)


def _check_removed(name: str, known: Mapping[str, str], removed: Collection[str]) -> None:
    for key in removed:
        if key not in known:
            near = closest(key, known)
            remedy = f"did you mean {near!r}?" if near else f"it has: {', '.join(known) or 'none'}"
            raise ConfigError("device label", "--remove", f"{name!r} has no label {key!r}", remedy)
