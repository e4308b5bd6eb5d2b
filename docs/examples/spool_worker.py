"""A worker that follows a file in which a client library spools jobs, and notes what is done."""

import sys
import time
from pathlib import Path

spool, done = (Path(name) for name in sys.argv[1:])
spool.touch()
with spool.open("rb") as jobs, done.open("ab", buffering=0) as noted:
    print("takes jobs", flush=True)
    rest = b""
    while True:
        rest += jobs.readline()
        if rest.endswith(b"\n"):
            noted.write(rest)
            rest = b""
        else:
            time.sleep(0.02)
