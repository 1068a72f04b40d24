"""Fits any face model with landmarks to the points and pixels of a photo."""
