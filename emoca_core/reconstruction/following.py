"""The first look at a clip: every frame once, its cuts, its faces, and which of them are the same person."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import replace

from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.errors import RecipeError
from emoca_core.images.sharpness import sharpness
from emoca_core.interfaces import Clip, Detection, Follower, Landmarker
from emoca_core.interfaces.clip import ClipFrame
from emoca_core.interfaces.tracker import Frame
from emoca_core.kernels.ahead import ahead
from emoca_core.kernels.threads import opencv_on_one_thread
from emoca_core.method import Method
from emoca_core.reconstruction.glances import GlancedFrames, Glances
from emoca_core.reconstruction.observations import Observations, ObservedFrame, in_single_precision
from emoca_core.reconstruction.sequence_settings import SequenceSettings
from emoca_core.video.cuts import CutFinder

_WARM_UP = 10
"""Frames that a follower sees before the part of which it finds the faces: whoever goes on after a stop begins there.

More make it no more like one that saw the whole shot: docs/video.md, "Stopping and going on"."""
_MOST_AHEAD, _PIXELS_AHEAD = 2, 16_000_000
"""Frames, and pixels of them, that wait between decoding, finding faces and following them; larger ones do not wait."""


def follow_faces(
    method: Method,
    clip: Clip,
    settings: SequenceSettings,
    observations: Observations,
    progress: Callable[[], object] = lambda: None,
) -> None:
    """Look at every frame of a clip that was not seen yet.

    Args:
        method: Its landmarker and its tracker do the work; its encoder and emotion backbone may glance at the faces.
        clip: What to look at.
        settings: One face, or all, and how they are cut out.
        observations: Receives what is found; what is there already is not looked for again.
        progress: Called after every frame.

    Raises:
        RecipeError: The method has no landmarker, or no tracker.
        ImageError: The clip cannot be decoded.
        OSError: Observations cannot be written.
    """
    if observations.are_whole:
        return
    if method.landmarker is None or method.tracker is None:
        lacking = "landmarker" if method.landmarker is None else "tracker"
        raise RecipeError(f"recipe '{method.name}' has no {lacking}, so it cannot follow faces through clips")
    pending: deque[tuple[ObservedFrame, UInt8[ndarray, "H W 3"]]] = deque()
    height, width = clip.size
    room = min(_MOST_AHEAD, _PIXELS_AHEAD // (height * width))
    known = len(observations)
    with (
        opencv_on_one_thread(),
        _Faces(method.landmarker, settings, observations.part) as faces,
        GlancedFrames(observations, Glances.of(method, settings.crop)) as glanced,
    ):
        decoded = _with_cuts(clip)  # decoding, the landmarker and the rest beside one another, if there is room
        looking = _seen(ahead(decoded, room) if room else decoded, faces, observations, pending)
        with closing(ahead(looking, room) if room else looking) as seen:
            for index, tracks in enumerate(method.tracker.track(seen)):
                frame, pixels = pending.popleft()
                if index >= known:  # the landmarker goes on meanwhile
                    sharp = [sharpness(pixels, face.box) for face in frame.faces]
                    glanced.add(replace(frame, tracks=tracks, sharpness=sharp), pixels)
                progress()
        glanced.finish()
    observations.finish()


def _with_cuts(clip: Clip) -> Generator[tuple[ClipFrame, bool, bool], None, None]:
    """Every frame, whether a cut lies before it, and whether it shows the same as the one before."""
    cuts = CutFinder()
    for frame in clip.frames():
        starts_shot = cuts.is_cut(frame.pixels)
        yield frame, starts_shot, cuts.repeats and not starts_shot


def _seen(
    frames: Generator[tuple[ClipFrame, bool, bool], None, None],
    faces: "_Faces",
    observations: Observations,
    pending: deque[tuple[ObservedFrame, UInt8[ndarray, "H W 3"]]],
) -> Generator[Frame, None, None]:
    """Frames for the tracker, which is shown again what was observed before: it remembers nothing else."""
    known, stored = len(observations), iter(observations)
    with closing(frames):
        for index, (frame, starts_shot, repeats) in enumerate(frames):
            if index < known:
                faces.pass_over(index, frame, starts_shot, known)
                observed = next(stored)
            else:
                repeats = repeats and not faces.begins_part(index)
                found = faces.detect(index, frame, starts_shot, repeats)
                observed = ObservedFrame(frame.number, frame.time, starts_shot, found, repeats=repeats)
            pending.append((observed, frame.pixels))
            yield Frame(frame.time, observed.faces, frame.pixels, starts_shot)


class _Faces:
    """Follows faces through the shots of a clip; every shot begins anew, and every part that is kept.

    At the end of a part, the follower of the next one looks at the same frames beside that of this one. So a run that
    begins with any part finds what one finds that has seen all parts before, and no frames have to be kept.
    """

    def __init__(self, landmarker: Landmarker, settings: SequenceSettings, part: int) -> None:
        self._landmarker, self._part = landmarker, part
        self._most, self._min_score = 1 if settings.track == "largest" else None, settings.min_score
        self._this, self._next = _OneFollower(), _OneFollower()
        self._found: list[Detection] = []

    def __enter__(self) -> "_Faces":
        return self

    def __exit__(self, *error: object) -> None:
        self._this.close()
        self._next.close()

    def begins_part(self, index: int) -> bool:
        """Whether a run may begin here; then nothing is known of the frame before."""
        return index % self._part == 0

    def pass_over(self, index: int, frame: ClipFrame, starts_shot: bool, known: int) -> None:
        """A frame of which the faces are known, as are those of so many; the follower of the next part may see it."""
        self._begin(index, starts_shot)
        if index >= known - self._part:
            self._warm_up(index, frame)

    def detect(self, index: int, frame: ClipFrame, starts_shot: bool, repeats: bool) -> list[Detection]:
        """The faces of the next frame; those of the last one again, if it shows the same."""
        self._begin(index, starts_shot)
        if not repeats:
            found = self._look(self._this, frame)
            self._found = [in_single_precision(face) for face in found if face.score >= self._min_score]
        self._warm_up(index, frame)
        return self._found

    def _begin(self, index: int, starts_shot: bool) -> None:
        """Change followers where a part begins, and let go of both where a shot does."""
        if self.begins_part(index):
            self._this.close()
            self._this, self._next = self._next, self._this
        if starts_shot:
            self._this.close()
            self._next.close()

    def _warm_up(self, index: int, frame: ClipFrame) -> None:
        if index % self._part >= self._part - _WARM_UP:
            self._look(self._next, frame)

    def _look(self, one: "_OneFollower", frame: ClipFrame) -> list[Detection]:
        return one.of(self._landmarker, self._most).detect(frame.pixels, frame.time)


class _OneFollower:
    """A follower that is made when it is wanted."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._follower: Follower | None = None

    def of(self, landmarker: Landmarker, most: int | None) -> Follower:
        """The follower; where there is none, a new one."""
        if self._follower is None:
            self._follower = self._stack.enter_context(landmarker.follow(most))
        return self._follower

    def close(self) -> None:
        """Let go of it."""
        self._stack.close()
        self._follower = None
