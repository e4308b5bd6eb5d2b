"""What makes many runs: search, durability, capacity, repeats, and the ratchet of budgets."""
