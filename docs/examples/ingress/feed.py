"""An ingress program: appends each event to a file, as a call of a client library would."""

import json
import os
import sys
from pathlib import Path

with Path(os.environ.get("SPOOL", "events.jsonl")).open("a", encoding="utf-8") as queue:
    print("ready", flush=True)
    for line in sys.stdin:
        event = json.loads(line)
        try:
            queue.write(line)
            queue.flush()
        except OSError as error:
            # The file may hold a part of it: nobody knows.
            print("unknown", event["id"], error, flush=True)
        else:
            print("ok", event["id"], flush=True)
