"""Ablations: variants of one training, each with several seeds, run, compared and shown."""
