"""The columns that run in penstock's own environment: the floors, and penstock."""
