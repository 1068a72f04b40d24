"""A camera in, a moving face out while it moves."""

from emoca_core.live.capture import LiveCapture
from emoca_core.live.source import LiveSource, open_camera, play_clip

__all__ = ["LiveCapture", "LiveSource", "open_camera", "play_clip"]
