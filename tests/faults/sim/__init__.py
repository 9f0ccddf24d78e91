"""A deterministic simulation of a whole federation: real cores and real files, virtual time, network and power."""
