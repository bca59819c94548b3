"""The columns that run in penstock's own environment: two floors, and penstock."""
