"""Whatever can be seen as a clip, opened by the reader that knows it."""

from pathlib import Path

from emoca_core.interfaces import Clip
from emoca_core.video.suffixes import ANIMATED_SUFFIXES, CLIP_SUFFIXES
from emoca_core.video.timed import USUAL_RATE, Part, readable


def open_clip(
    path: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    every: int = 1,
    frame_rate: float = USUAL_RATE,
) -> Clip:
    """Open a clip: any video that FFmpeg reads, an animated GIF, WebP or PNG, or a folder of numbered frames.

    Frames keep their own times (variable frame rates stay variable), are turned upright as the file says, and have
    square pixels. Frames that cannot be decoded are left out; their numbers are missing.

    Args:
        path: File or folder.
        start: First moment, seconds since the clip's first frame; times still count from that frame.
        end: Moment before which to end, seconds; ``None`` for the clip's end.
        every: Take one frame of so many.
        frame_rate: Frames a second of a folder, which does not tell.

    Raises:
        ImageError: It cannot be read, or shows nothing that moves: one line that says why and what to do.
        ParamsError: A part that no clip has.
    """
    path, part = Path(path).expanduser(), Part(start, end, every)
    with readable(path):
        if path.is_dir():
            from emoca_core.video.frame_folder import open_frames

            return open_frames(path, part, frame_rate)
        if path.suffix.lower() in ANIMATED_SUFFIXES:
            from emoca_core.video.animated_picture import open_animated

            return open_animated(path, part)
        from emoca_core.video.video_file import open_video

        return open_video(path, part)


def is_clip(path: Path) -> bool:
    """Whether a file is a clip and no photo, by its name; of GIF, WebP and APNG, those that move."""
    suffix = path.suffix.lower()
    if suffix not in ANIMATED_SUFFIXES - {".png"}:
        return suffix in CLIP_SUFFIXES
    from emoca_core.video.animated_picture import is_animated

    return is_animated(path)
