"""Clips: reading, cuts between shots, smoothing along time. Pixels, numbers and times; nothing about methods."""

from emoca_core.video.open import is_clip, open_clip
from emoca_core.video.suffixes import CLIP_SUFFIXES

__all__ = ["CLIP_SUFFIXES", "is_clip", "open_clip"]
