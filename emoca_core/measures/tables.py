"""Tables of figures as text."""

from collections.abc import Sequence

UNDEFINED = "–"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns under each other: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    )


def markdown_table(rows: Sequence[Sequence[str]], texts: int | None = None) -> str:
    """A table whose first row is its head; the columns after the first ``texts`` are set to the right."""
    head = rows[0]
    sides = ["---" if texts is None or column < texts else "---:" for column in range(len(head))]
    cells = [head, sides, *rows[1:]]
    return "\n".join(f"| {' | '.join(' '.join(text.split()).replace('|', '/') for text in row)} |" for row in cells)
