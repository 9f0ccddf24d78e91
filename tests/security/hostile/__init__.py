"""A device with valid keys and bad intentions: what it can send, and the rounds that it sends it into."""
