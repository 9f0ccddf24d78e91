"""The device's data: from a file to samples ready for training."""
