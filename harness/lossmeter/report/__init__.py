"""Shows judged runs: tables for people, lines for logs."""
