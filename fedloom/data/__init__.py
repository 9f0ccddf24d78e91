"""Samples on a disk: from a file to what is ready for training, on a device or for the aggregator's root set."""
