"""Which names clips have."""

_NAMES = """
mp4 m4v mov qt mkv webm avi divx wmv asf flv f4v mpg mpeg mpe m2v vob ts mts m2ts 3gp 3g2 ogv ogm mxf dv y4m
h264 264 hevc h265 265 ivf obu rm rmvb
"""
CLIP_SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
"""Suffixes that a folder is searched for. A file that is opened as a clip may have any."""
ANIMATED_SUFFIXES = frozenset({".gif", ".webp", ".png", ".apng"})
"""Of pictures that may move."""
