"""A harness that tells how many messages an event dispatcher loses, and proves it."""
