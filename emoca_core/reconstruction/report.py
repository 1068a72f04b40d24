"""What became of the inputs of a folder run."""

from dataclasses import dataclass, field
from pathlib import Path

from emoca_core.errors import EmocaError

BAD_FACE = (EmocaError, ValueError, RuntimeError, ArithmeticError)
"""What computing one face may raise; anything else is a bug, and stops the run."""


@dataclass
class Report:
    """What became of the photos and clips.

    Attributes:
        photos: Photos with at least one face, finished in this run.
        faces: Faces written in this run.
        doubtful: Of these, faces whose quality is doubtful.
        left_out: Faces with a score below ``min_score``, in this run.
        replaced: Photos and clips whose finished faces give way: another recipe had made them, or this one with other
            settings.
        skipped: Photos with at least one face that were finished before.
        clips: Clips with at least one person, finished in this run.
        people: People through clips, written in this run.
        skipped_clips: Clips with at least one person that were finished before.
        without_face: Photos and clips in which there is no face, found in this run or before.
        failed: Input and reason.
        not_taken: Files in folders that look like pictures and were not read, and why.
    """

    photos: int = 0
    faces: int = 0
    doubtful: int = 0
    left_out: int = 0
    replaced: int = 0
    skipped: int = 0
    clips: int = 0
    people: int = 0
    skipped_clips: int = 0
    without_face: list[Path] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    not_taken: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def has_faces(self) -> bool:
        """Whether anything came out, now or before."""
        return bool(self.faces or self.skipped or self.people or self.clips or self.skipped_clips)
