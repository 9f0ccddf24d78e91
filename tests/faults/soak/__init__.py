"""The soak: a whole federation of real processes, for as long as you like, under random faults. `make soak` runs it."""
