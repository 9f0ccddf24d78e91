"""Virtual clients in lock step: the clients of a round are the leading axis of every array."""
