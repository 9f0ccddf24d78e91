"""A Flower app in numpy alone."""
