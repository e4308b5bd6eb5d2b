"""Queries of target files as they are put into others."""

from __future__ import annotations

import pytest

from lossmeter.world.stores._postgres_columns import raw


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("select 1 -- all of them", "select 1"),
        ("select 1; -- all; of them\n", "select 1"),
        ("select 1;;\n/* a ; b */ -- x\n ;", "select 1"),
        ("select ';--' -- x", "select ';--'"),
        ("select $a$ ; -- $a$ ;", "select $a$ ; -- $a$"),
        (r"select e'\'; --' ;", r"select e'\'; --'"),
        ('select "a;--b" from x;', 'select "a;--b" from x'),
        # What is no single query stays, for the server to refuse.
        ("select 1; select 2;", "select 1; select 2"),
        ("select 1 /* open", "select 1 /* open"),
    ],
)
def test_what_may_not_end_a_subquery_is_left_out(query: str, left: str) -> None:
    assert raw(query).as_string(None) == left
