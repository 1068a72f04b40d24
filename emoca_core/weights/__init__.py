"""Files of weights in the formats of others, read without the frameworks that wrote them; key maps; checkpoints."""

RANDOM = "random"
"""Instead of published weights: initialise at random, for training."""
