"""Clips to an output folder: one folder a person; a stopped run goes on in the middle, one bad clip stops no other."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from emoca_core.claims import Claim
from emoca_core.files import write_text
from emoca_core.interfaces import CapturedSequence, Clip, Exporter
from emoca_core.method import Method
from emoca_core.progress import progress_bar
from emoca_core.reconstruction.captured_sequence import describe_clip
from emoca_core.reconstruction.clip_settings import ClipSettings
from emoca_core.reconstruction.following import follow_faces
from emoca_core.reconstruction.observations import Observations
from emoca_core.reconstruction.replaced import Replaced
from emoca_core.reconstruction.report import BAD_FACE, Report
from emoca_core.reconstruction.results import (
    ClipRecord,
    ClipResult,
    Names,
    fingerprint_of,
    photo_fingerprint,
    source_id,
)
from emoca_core.reconstruction.saving import save_sequence
from emoca_core.reconstruction.second_look import without_mistakes
from emoca_core.reconstruction.sequences import capture_track
from emoca_core.reconstruction.tracks import People, Track, find_people, read_track


@dataclass
class ClipRun:
    """The clips of one call of ``reconstruct_to_folder``.

    Attributes:
        names: Gives clips their folders, as it gives photos theirs.
        replaced: Told of clips that are done again.
        fail: Told of a clip that cannot be used.
        say: Receives lines for people.
    """

    method: Method
    names: Names
    settings: ClipSettings
    exporters: Mapping[str, Exporter]
    overwrite: bool
    report: Report
    replaced: Replaced
    fail: Callable[[str, Exception], None]
    say: Callable[[str], None]

    @cached_property
    def fingerprint(self) -> str:
        """Of everything but the clip."""
        facts = {name: value for name, value in asdict(self.settings).items() if name != "batch_size"}
        return fingerprint_of(self.method, facts, self.exporters)

    def reconstruct(self, clips: Mapping[Path, str]) -> None:
        """Reconstruct clips; those that another process has come last.

        Args:
            clips: Where they are, and the names that their folders should have.

        Raises:
            OSError: The output folder cannot be written.
        """
        busy = {path: name for path, name in clips.items() if not self._try(path, name, wait=False)}
        for path, name in busy.items():
            self._try(path, name, wait=True)

    def _try(self, path: Path, name: str, wait: bool) -> bool:
        """Whether the clip is done with; only what another process has is not."""
        try:
            return self._one(path, name, wait)
        except BAD_FACE as error:
            self.fail(str(path), error)
            return True

    def _one(self, path: Path, name: str, wait: bool) -> bool:
        clip, source = self.settings.open(path), source_id(path)
        fingerprint = photo_fingerprint(self.fingerprint, clip.sha256)
        while True:
            result = ClipResult(self.names.choose(name, source))
            if self._skip(path, result, fingerprint):
                return True
            result.folder.mkdir(exist_ok=True)
            claim = self._wait(result.folder) if wait else Claim.take(result.folder)
            if claim is None:
                return False
            with claim:
                if self.names.holds(result.folder, source):
                    if not self._skip(path, result, fingerprint):  # another process has not just finished it
                        self._work(path, clip, result, source, fingerprint)
                    return True

    def _wait(self, folder: Path) -> Claim:
        return Claim.wait(folder, lambda: self.say(f"waiting for another process, which works on {folder}"))

    def _skip(self, path: Path, result: ClipResult, fingerprint: str) -> bool:
        """Whether the clip was finished before."""
        if self.overwrite or not result.is_finished(fingerprint):
            return False
        record = result.record()
        if record is not None and record.tracks:
            self.report.skipped_clips += 1
        else:
            self.report.without_face.append(path)
        return True

    def _work(self, path: Path, clip: Clip, result: ClipResult, source: str, fingerprint: str) -> None:
        before, unfinished = result.record(), result.start(fingerprint)
        observations = Observations(unfinished)
        with progress_bar(total=clip.length, label=f"following {path.name}", unit="frame") as bar:
            follow_faces(self.method, clip, self.settings, observations, bar.update)
        people = without_mistakes(find_people(observations), self.method, clip, observations)
        self._tell(path, clip, people)
        chosen = people.chosen(self.settings.track) if people.labels else ()
        self.replaced.note(before, fingerprint, clip.sha256)
        for number in chosen:
            done = unfinished / f"track_{number}.done"  # by a run that was stopped later
            if not done.exists():
                self._capture(path, clip, read_track(observations, people, number), result)
                write_text(done, "")
        record = {
            "format": "emoca-clip-1",
            "clip": {
                **describe_clip(clip),
                "frames": people.frames,
                "left_out": (clip.length or people.frames) - people.frames,
                "people": len(people.labels),
            },
            "source": source,
            "recipe": self.method.name,
            "tracks": [result.part_folder(number).name for number in chosen],
            "fingerprint": fingerprint,
        }
        for old in result.finish(ClipRecord.model_validate(record)):
            self.say(
                f"{old} shows a person who is found no more; it holds files that this version did not make: remove it"
            )
        self.report.clips += bool(chosen)

    def _tell(self, path: Path, clip: Clip, people: People) -> None:
        """What people should know before they look at the result."""
        if clip.length is not None and people.frames < clip.length:
            self.say(f"{path}: {clip.length - people.frames} of {clip.length} frames are missing or damaged: left out")
        if not people.labels:
            self.report.without_face.append(path)
            seen = f" for longer than a moment ({people.short} shorter)" if people.short else ""
            seen += f"; what passed for one ({people.mistaken}) is none at a second look" if people.mistaken else ""
            self.say(f"{path}: no face found in its {people.frames} frames{seen}")
        elif self.settings.track == "largest" and len(people.labels) > 1:
            self.say(f"{path}: other people are seen ({len(people.labels) - 1}): --track all takes everybody")

    def _capture(self, path: Path, clip: Clip, track: Track, result: ClipResult) -> None:
        with progress_bar(total=int(track.is_new.sum()), label=f"capturing track {track.number}", unit="frame") as bar:
            sequence = capture_track(self.method, clip, track, self.settings, bar.update)
        save_sequence(sequence, result.part_folder(track.number), self.exporters)
        self.report.people += 1
        if doubt := _doubt(sequence):
            self.say(f"{path}: track {track.number}: {doubt}")


def _doubt(sequence: CapturedSequence) -> str:
    """What is to be known of the frames of one person; mostly nothing."""
    counts = {flag: int(sequence.flagged(flag).sum()) for flag in ("bridged", "doubtful")}
    told = [f"{count} {flag}" for flag, count in counts.items() if count]
    return f"of {len(sequence)} frames {' and '.join(told)}" if told else ""
