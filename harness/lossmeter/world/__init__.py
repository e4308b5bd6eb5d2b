"""What runs: targets and servers on a runtime, and what a fault may see of them."""
