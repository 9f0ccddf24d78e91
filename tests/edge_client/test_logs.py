"""Log lines as text and as JSON."""

import json
import logging
import re

from edge_client.logs import JsonFormatter, TextFormatter


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("fedloom.edge", logging.WARNING, "file", 1, text, args, None)


def test_text_has_time_level_and_event() -> None:
    line = TextFormatter().format(record("update.sent digest=%s bytes=%d", "1a2b", 31))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING update\.sent digest=1a2b bytes=31", line)


def test_what_a_broker_wrote_makes_no_lines_of_its_own() -> None:
    line = TextFormatter().format(record("message.refused topic=%s", "a\n2026 INFO job.finished \x1b[2J\x85é"))
    assert line.endswith("topic=a\\n2026 INFO job.finished \\x1b[2J\\x85é")


def test_json_has_a_key_for_each_name() -> None:
    line = json.loads(JsonFormatter().format(record("link.lost reason=%r seconds=%.3f", "it's gone", 1.5)))
    assert (line["event"], line["level"], line["reason"], line["seconds"]) == ("link.lost", "warning", "it's gone", 1.5)


def test_json_keeps_a_message_of_another_shape() -> None:
    line = json.loads(JsonFormatter().format(record("%s of %d", "one", 2)))
    assert line["message"] == "one of 2"
