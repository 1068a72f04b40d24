"""Finished results that give way to others are counted, and it is said whose they were."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emoca_core.reconstruction.report import Report
from emoca_core.reconstruction.results import ClipRecord, PhotoRecord


@dataclass
class Replaced:
    """What one call of ``reconstruct_to_folder`` replaces.

    Attributes:
        out: The output folder.
        recipe: Name of the method at work.
        report: Where photos and clips are counted.
        say: Receives one line for each recipe whose faces are replaced.
    """

    out: Path
    recipe: str
    report: Report
    say: Callable[[str], None]
    _told: set[str] = field(default_factory=set)

    def note(self, old: PhotoRecord | ClipRecord | None, fingerprint: str, sha256: str) -> None:
        """Look at the record of a photo or clip that is done again.

        Args:
            old: What it says; ``None`` where nothing was finished.
            fingerprint: Of the new result.
            sha256: Of the photo or clip: the faces of another one had their time.
        """
        if old is None or old.fingerprint == fingerprint:
            return
        source, results = (old.photo, old.faces) if isinstance(old, PhotoRecord) else (old.clip, old.tracks)
        if not results or source.sha256 != sha256:
            return
        self.report.replaced += 1
        how = " with other settings, files or another version" if old.recipe == self.recipe else ""
        made = f"recipe '{old.recipe}'{how}"
        if made not in self._told:
            self._told.add(made)
            self.say(f"{self.out}: faces of {made} are there, and are replaced by those of recipe '{self.recipe}'")
