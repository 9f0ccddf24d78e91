"""Puts the arrays of a reply into the order and types of the request's, so that a strategy may add them by position."""

import numpy as np

from fedloom.wire.records import Array, ArrayRecord, Record


def in_the_order_of(request: dict[str, Record], reply: dict[str, Record]) -> dict[str, Record]:
    """The reply, with each record of arrays like the one of the same names in the request.

    A record with other names is left alone: an app may answer with arrays that it was not sent.

    Raises:
        ValueError: an array has another shape than in the request, or numbers that its type cannot hold.
    """
    return {name: _like(request, name, record) for name, record in reply.items()}


def _like(request: dict[str, Record], name: str, record: Record) -> Record:
    model = request.get(name)
    if not (isinstance(record, ArrayRecord) and isinstance(model, ArrayRecord)):
        return record
    if record.items.keys() != model.items.keys():
        return record
    return ArrayRecord({key: _cast(f"{name}.{key}", record.items[key], model.items[key]) for key in model.items})


def _cast(where: str, array: Array, model: Array) -> Array:
    if array.shape != model.shape:
        raise ValueError(f"{where} has the shape {array.shape}, not {model.shape}")
    if array.dtype == model.dtype:
        return array
    if not (array.dtype.startswith("float") and model.dtype.startswith("float")):
        raise ValueError(f"{where} is of type {array.dtype}, not {model.dtype}")
    with np.errstate(over="ignore"):
        cast = array.values().astype(model.dtype)
    if not np.isfinite(cast).all():
        raise ValueError(f"{where} does not fit {model.dtype}")
    return Array.of(cast)
