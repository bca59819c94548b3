"""Blocks are the steps of a pipeline."""
