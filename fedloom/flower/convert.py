"""Between Flower's `RecordDict` and the records that travel: the same names in the same order, and no pickle.

An `Array` of Flower's carries what `numpy.save` wrote; it is read with `allow_pickle=False` and travels as raw values.
"""

from typing import Any

from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord as FlowerArrays
from flwr.app import ConfigRecord as FlowerConfig
from flwr.app import MetricRecord as FlowerMetrics
from flwr.app import RecordDict

from fedloom.wire.records import Array, ArrayRecord, Blob, ConfigRecord, MetricRecord, Record, Value


def to_wire(content: RecordDict) -> dict[str, Record]:
    """The records as they travel.

    Raises:
        ValueError, TypeError: an array is none of numpy's, or of a type that does not travel.
    """
    return {str(name): _record(record) for name, record in content.items()}


def from_wire(records: dict[str, Record]) -> RecordDict:
    """Checked records as Flower has them."""
    content = RecordDict()
    for name, record in records.items():
        match record:
            case ArrayRecord(items):
                content[name] = FlowerArrays({key: FlowerArray(array.values()) for key, array in items.items()})
            case MetricRecord(items):
                content[name] = FlowerMetrics(dict(items))
            case ConfigRecord(items, blobs):
                content[name] = FlowerConfig({**items, **blobs})
    return content


def _record(record: FlowerArrays | FlowerMetrics | FlowerConfig) -> Record:
    if isinstance(record, FlowerArrays):
        return ArrayRecord({key: Array.of(array.numpy()) for key, array in record.items()})
    plain = {key: _plain(value) for key, value in record.items()}
    if isinstance(record, FlowerMetrics):
        return MetricRecord(plain)
    blobs: dict[str, Blob] = {key: value for key, value in plain.items() if _is_blob(value)}
    settings: dict[str, Value] = {key: value for key, value in plain.items() if key not in blobs}
    return ConfigRecord(settings, blobs)


def _is_blob(value: object) -> bool:
    return isinstance(value, bytes) or (isinstance(value, list) and bool(value) and isinstance(value[0], bytes))


def _plain(value: Any) -> Any:
    """Python's own types, where an app has put numpy's in their place."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str | bytes):
        return value
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent")
