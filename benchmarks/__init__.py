"""What is claimed about penstock's speed, measured beside floors and peers: ``python -m benchmarks``."""
