"""``index.html``: every face of an output folder on one page, with links to its files. Needs nothing but the folder."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from emoca_core.files import write_text


@dataclass(frozen=True)
class SheetRow:
    """One face, or one photo without any.

    Attributes:
        photo: Name of the photo.
        title: Which face, or that there is none.
        facts: Short notes.
        thumbnail: Picture, relative to the page.
        picture: What the thumbnail links to, relative to the page.
        files: Label and path of each file, relative to the page.
    """

    photo: str
    title: str
    facts: Sequence[str] = ()
    thumbnail: Path | None = None
    picture: Path | None = None
    files: Sequence[tuple[str, Path]] = ()


def write_contact_sheet(
    path: Path | str, title: str, rows: Iterable[SheetRow], failures: Iterable[tuple[str, str]] = ()
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        title: Heading.
        rows: In the order in which they shall appear.
        failures: Photo and reason, for photos that could not be used.

    Raises:
        OSError: The file cannot be written.
    """
    rows, failures = list(rows), list(failures)
    faces = sum(row.thumbnail is not None for row in rows)
    counted = f"faces: {faces}" + (f", failed: {len(failures)}" if failures else "")
    body = "\n".join(map(_row, rows))
    if failures:
        items = "\n".join(f"<li><b>{_text(name)}</b> {_text(reason)}</li>" for name, reason in failures)
        body += f'\n<section class="failed"><h2>Could not be used</h2><ul>\n{items}\n</ul></section>'
    write_text(path, _PAGE.format(title=_text(title), counted=counted, style=_STYLE, body=body))


def _row(row: SheetRow) -> str:
    picture = '<div class="none">no face</div>'
    if row.thumbnail is not None:
        image = f'<img loading="lazy" src="{_link(row.thumbnail)}" alt="{_text(row.photo)}, {_text(row.title)}">'
        picture = f'<a href="{_link(row.picture)}">{image}</a>' if row.picture else image
    facts = "".join(f"<li>{_text(fact)}</li>" for fact in row.facts)
    links = " ".join(f'<a href="{_link(path)}">{_text(label)}</a>' for label, path in row.files)
    return (
        f"<article>{picture}<div><h2>{_text(row.photo)}</h2><p>{_text(row.title)}</p>"
        f"<ul>{facts}</ul><nav>{links}</nav></div></article>"
    )


def _text(value: str) -> str:
    return html.escape(value)


def _link(path: Path) -> str:
    return quote(path.as_posix())


_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d21; --soft: #6b6b75; --line: #e3e3e8; --paper: #fff; --link: #2459c4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --soft: #9a9aa6; --line: #33333b; --paper: #17171b; --link: #8fb4ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1400px; padding: 2rem 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; align-items: baseline; gap: 1rem; margin-bottom: 1.5rem; }
h1 { font-size: 1.4rem; font-weight: 600; margin: 0; }
header span, p, li { color: var(--soft); }
article { display: grid; grid-template-columns: minmax(0, 1fr) 16rem; gap: 1.5rem; padding: 1rem 0;
  border-top: 1px solid var(--line); align-items: center; }
article > div { min-width: 0; overflow-wrap: anywhere; }
img { width: 100%; height: auto; display: block; border-radius: 6px; background: #fff; }
.none { padding: 1.5rem; border: 1px dashed var(--line); border-radius: 6px; text-align: center; color: var(--soft); }
h2 { font-size: 1rem; font-weight: 600; margin: 0; }
p { margin: 0; }
ul { margin: .4rem 0; padding: 0; list-style: none; font-size: .87rem; }
nav { display: flex; flex-wrap: wrap; gap: .35rem; }
nav a { padding: .1rem .5rem; border: 1px solid var(--line); border-radius: 5px; font-size: .82rem; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
.failed { border-top: 1px solid var(--line); padding-top: 1rem; }
@media (max-width: 800px) { article { grid-template-columns: 1fr; gap: .7rem; } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><span>{counted}</span></header>
{body}
</body>
</html>
"""
