"""An unmodified Flower ServerApp in the place of a job. Needs flwr, which only this package imports."""
