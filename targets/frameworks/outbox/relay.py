"""Hands on what stands in an outbox above the last number that it has handed on."""

import os
import time

import psycopg

TABLES = """
create table if not exists outbox (
    n bigserial primary key, producer bigint, sequence bigint, payload text
);
create table if not exists notice (
    n bigserial, producer bigint, sequence bigint, payload text, from_outbox bigint,
    at timestamptz default clock_timestamp()
)
"""
NEXT = "select n, producer, sequence, payload from outbox where n > %s order by n limit 100"
INSERT = "insert into notice (from_outbox, producer, sequence, payload) values (%s, %s, %s, %s)"

with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
    database.execute(TABLES)
    (last,) = database.execute("select coalesce(max(from_outbox), 0) from notice").fetchone()
    print("reads the outbox", flush=True)
    while True:
        rows = database.execute(NEXT, (last,)).fetchall()
        if not rows:
            time.sleep(0.005)
            continue
        with database.transaction(), database.cursor() as cursor:
            cursor.executemany(INSERT, rows)
        last = rows[-1][0]
