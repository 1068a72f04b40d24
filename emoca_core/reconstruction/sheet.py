"""The contact sheet of an output folder, made from what lies in it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from emoca_core.export.contact_sheet import SheetRow, write_contact_sheet
from emoca_core.reconstruction.captured import RECORD
from emoca_core.reconstruction.results import CONTACT_SHEET, finished_photos, read_record

_LINKS = {
    "face.glb": "GLB",
    "face.obj": "OBJ",
    "face.safetensors": "codes",
    RECORD: "JSON",
    "overlay.png": "picture",
}
_STRONG, _SHOWN = 0.25, 4
"""Activations above the first are worth naming, at most so many."""


def write_index(out: Path, failures: Iterable[tuple[str, str]] = ()) -> Path:
    """Write ``index.html`` for everything finished under an output folder.

    Args:
        out: The output folder.
        failures: Input and reason, of this run.

    Returns:
        The page.

    Raises:
        OSError: It cannot be written.
    """
    path = out / CONTACT_SHEET
    write_contact_sheet(path, "EMOCA Core", list(_rows(out)), failures)
    return path


def _rows(out: Path) -> Iterator[SheetRow]:
    for result, photo in finished_photos(out):
        name = str(photo["photo"]["file"])
        if not photo["faces"]:
            yield SheetRow(name, "no face found")
        for face in photo["faces"]:
            folder = result.folder / face
            record = read_record(folder / RECORD)
            if record is not None:
                yield _row(name, folder.relative_to(out), record)


def _row(name: str, folder: Path, record: Mapping[str, Any]) -> SheetRow:
    files = record["files"]
    return SheetRow(
        photo=name,
        title=f"face {record['face']['index']}, {record['recipe']['name']}",
        facts=list(_facts(record)),
        thumbnail=folder / "thumbnail.jpg" if "thumbnail.jpg" in files else None,
        picture=folder / "overlay.png",
        files=[(label, folder / file) for file, label in _LINKS.items() if file in (*files, RECORD)],
    )


def _facts(record: Mapping[str, Any]) -> Iterator[str]:
    error = (record["landmarks"] or {}).get("mean_error_interocular")
    if error is not None:
        yield f"landmark error {100 * error:.1f} % of the eye distance"
    values = (record["arkit"] or {}).get("values", {})
    strongest = sorted(values.items(), key=lambda item: -item[1])[:_SHOWN]
    if shown := [f"{name} {value:.2f}" for name, value in strongest if value > _STRONG]:
        yield ", ".join(shown)
