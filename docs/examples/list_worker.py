"""A worker as many are: it pops a job from a list in Redis, and appends it to a file."""

import os
import sys
from pathlib import Path

import redis

client = redis.Redis.from_url(os.environ["REDIS_URL"])
with Path(sys.argv[1]).open("ab", buffering=0) as done:
    print("takes jobs", flush=True)
    while True:
        if taken := client.blpop("jobs", timeout=1):
            done.write(taken[1] + b"\n")
