"""A worker over a table of jobs: it takes one, and notes that it is done, in one transaction."""

import os
import time

import psycopg

TABLES = """
create table if not exists job (n bigserial, producer bigint, sequence bigint, payload text);
create table if not exists done (n bigserial, producer bigint, sequence bigint,
    at timestamptz default clock_timestamp());
"""
TAKE = """
with taken as (
    delete from job where n = (select n from job order by n limit 1 for update skip locked)
    returning producer, sequence
)
insert into done (producer, sequence) select producer, sequence from taken
"""

with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
    database.execute(TABLES)
    print("takes jobs", flush=True)
    while True:
        if not database.execute(TAKE).rowcount:
            time.sleep(0.05)
