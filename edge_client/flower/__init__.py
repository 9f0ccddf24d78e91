"""Runs an unmodified Flower ClientApp: the daemon's side without flwr, and the process that has it."""
