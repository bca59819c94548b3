"""What is claimed about penstock's speed, measured with floors and peers: ``python -m benchmarks``."""
