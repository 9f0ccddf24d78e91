"""What keeps a state directory small and sound: pruning, `fedloom aggregator gc` and `fedloom aggregator check`."""
