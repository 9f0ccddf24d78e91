"""`fedloom compare`: the runs of jobs and their sweeps, side by side.

plan ─► runs ─► (cache | pool of processes) ─► outcomes ─► groups ─► rows ─► table, JSON, report
"""
