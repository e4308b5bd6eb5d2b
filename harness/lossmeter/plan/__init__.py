"""What is to be run, as data: targets, the catalogue, budgets, seeds and predictions."""
