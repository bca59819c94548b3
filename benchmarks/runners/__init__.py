"""The columns that run in penstock's own environment: the baselines, and penstock."""
