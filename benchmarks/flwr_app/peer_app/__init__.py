"""Federated averaging of a numpy MLP with Flower's own strategy."""
