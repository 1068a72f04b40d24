"""The folder that a benchmark leaves behind."""

from pathlib import Path

from emoca_core.files import write_text
from emoca_core.probe.html import result_page
from emoca_core.probe.report import comma_separated, markdown
from emoca_core.probe.result import FILE, BenchmarkResult, write_result


def write_report(result: BenchmarkResult, out: Path) -> None:
    """Write ``result.json``, ``table.md``, ``table.csv`` and ``report.html``, each atomically.

    Raises:
        OSError: The folder cannot be written.
    """
    write_result(result, out / FILE)
    write_text(out / "table.md", markdown(result))
    write_text(out / "table.csv", comma_separated(result))
    write_text(out / "report.html", result_page(result))
