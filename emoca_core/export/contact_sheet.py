"""``index.html``: every face of an output folder on one page, with links to its files. Needs nothing but the folder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emoca_core.files import write_text
from emoca_core.pages import html_page


@dataclass(frozen=True)
class SheetRow:
    """One face, or one photo without any.

    Attributes:
        photo: Name of the photo.
        title: Which face, or that there is none.
        is_face: Whether it is a face.
        facts: Short notes.
        warning: Why the face is doubtful; empty where it is not.
        thumbnail: Picture, relative to the page.
        picture: What the thumbnail links to, relative to the page.
        files: Label and path of each file, relative to the page.
    """

    photo: str
    title: str
    is_face: bool = False
    facts: Sequence[str] = ()
    warning: str = ""
    thumbnail: Path | None = None
    picture: Path | None = None
    files: Sequence[tuple[str, Path]] = ()


def write_contact_sheet(
    path: Path | str, title: str, rows: Iterable[SheetRow], failures: Iterable[tuple[str, str]] = ()
) -> None:
    """Write the page; ``failures`` are photo and reason, for photos that could not be used.

    Raises:
        OSError: The file cannot be written.
    """
    rows, failures = list(rows), list(failures)
    numbers = {
        "faces": sum(row.is_face for row in rows),
        "doubtful": sum(bool(row.warning) for row in rows),
        "failed": len(failures),
    }
    counted = ", ".join(f"{name}: {number}" for name, number in numbers.items() if number or name == "faces")
    write_text(path, html_page("contact_sheet", title=title, counted=counted, rows=rows, failures=failures))
