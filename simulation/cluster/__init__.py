"""Virtual clients spread over a Ray cluster."""
