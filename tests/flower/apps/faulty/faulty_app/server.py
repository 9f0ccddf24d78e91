"""A ServerApp that asks every node once, and writes down what it hears."""

import json
import time
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    while len(nodes := list(grid.get_node_ids())) < int(context.run_config["nodes"]):
        time.sleep(0.1)
    content = RecordDict({"config": ConfigRecord({"question": "how are you?"})})
    grid.send_and_receive([Message(RecordDict(), node, "query.start") for node in nodes])
    messages = [Message(content, node, "query", group_id="1") for node in nodes]
    replies = grid.send_and_receive(messages, timeout=10.0)
    said = {
        str(reply.metadata.src_node_id): [reply.error.code, reply.error.reason] if reply.has_error() else "fine"
        for reply in replies
    }
    Path(str(context.run_config["result"])).write_text(json.dumps(said))
