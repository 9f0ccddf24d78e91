"""Flower's records beside ours. Needs flwr; imported only where somebody's own configuration names a Flower app."""
