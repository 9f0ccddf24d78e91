"""Copies of the whole state: made beside a running aggregator, and put back so that the federation goes on."""
