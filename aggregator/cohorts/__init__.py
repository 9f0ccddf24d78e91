"""Rules that draw the cohort of a round: one file and one paper each. See `aggregator.cohort`."""
