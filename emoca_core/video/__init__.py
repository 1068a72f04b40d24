"""Clips: cuts between shots, and smoothing along time. Pixels, numbers and times; nothing about methods."""
