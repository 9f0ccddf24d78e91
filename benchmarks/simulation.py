"""Client-rounds a second, and memory, of our simulation beside those of Flower, pfl-research, FedJAX and plain loops.

python benchmarks/simulation.py [--quick] [--skip-peer NAME] [--seconds S] [--core-type NAME] [--skip-growth]
                                [--json FILE]

Each side does the same federated averaging in processes of its own; peers in environments that are made on first use.
Of the ways to run a side the fastest counts: tried with 100 and with 1,000 clients a round, 10 take that of 100.
"""

import sys
from pathlib import Path

# This script is named as one of our packages, and comes before it on the path: let the package be found in it.
__path__ = [str(Path(__file__).resolve().parents[1] / "simulation")]

if __name__ == "__main__":
    from simulation_speed import main

    sys.exit(main(__doc__))
