"""Strategies of Flower in a job file; these modules alone import flwr, which is not there for who does not name one.

Flower, D. J. Beutel et al. 2020, "Flower: a friendly federated learning framework", arXiv:2007.14390.
"""

from strategies.flower.choice import create

__all__ = ["create"]
