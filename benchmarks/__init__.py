"""What is claimed about penstock's speed, measured with baselines and peers: ``python -m benchmarks``."""
