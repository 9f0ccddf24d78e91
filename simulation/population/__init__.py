"""Who has which samples, in a fleet that there is not: data sets, and how they are dealt out to clients."""
