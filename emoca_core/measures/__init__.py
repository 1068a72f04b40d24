"""Figures that compare predictions with the truth, and how far they can be trusted."""
