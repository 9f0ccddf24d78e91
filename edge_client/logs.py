"""The daemon's log: lines such as `update.sent digest=1a2b bytes=31000`, or the same as JSON objects."""

import logging
import re
import time

import msgspec

from edge_client.config import Log

_NAMED = re.compile(r"(\w+)=%[^\s]*")


class TextFormatter(logging.Formatter):
    """Time (UTC), level, event."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """What a broker wrote, such as a topic, may stand in it: it makes no lines, and moves no cursor."""
        if not record.message.isprintable():
            escaped = (each if each.isprintable() else ascii(each)[1:-1] for each in record.message)
            record.message = "".join(escaped)
        return super().formatMessage(record)


class JsonFormatter(TextFormatter):
    """One object a line; the names before = in a message become its keys."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": str(record.msg).partition(" ")[0],
        }
        names = _NAMED.findall(str(record.msg))
        if isinstance(record.args, tuple) and len(names) == len(record.args):
            line |= dict(zip(names, record.args, strict=True))
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up(choice: Log) -> None:
    """Log to standard error from now on, in place of what was set up before."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if choice.json else TextFormatter())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(choice.level.upper())
