"""Shared geometry: rotations, skinning, landmark embeddings. Every function is batched, differentiable and pure."""
