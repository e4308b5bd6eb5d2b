"""What is brought to this machine: servers, packages, an engine, a cluster."""
