"""Write the documentation to site/: the pages of docs/ and the reference of both packages. Run by ``make docs``."""

import pkgutil
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pdoc
import pdoc.render
import pdoc.render_helpers

import emoca_core
import emoca_plugins
from emoca_core import get_registry
from emoca_core.errors import ComponentImportError

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
_LINK = re.compile(r"\]\((?!https?:)([^)#]*?)([^/)#]+)\.md(#[^)]*)?\)")

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
pre {{ background: #f5f5f5; padding: .8rem; overflow-x: auto }} code {{ font-size: .9em }}
table {{ border-collapse: collapse }} th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd }}
img {{ max-width: 100% }} nav a {{ margin-right: 1rem }}
</style>
<nav>{navigation}</nav>
{body}
</html>
"""


def main() -> None:
    """Build everything anew."""
    shutil.rmtree(SITE, ignore_errors=True)
    pdoc.render.configure(docformat="google", search=True)
    for message in ("Couldn't import", "The module specification"):  # said by without_dependency; meant, see modules
        warnings.filterwarnings("ignore", message, module="pdoc")
    for name in emoca_core.__all__:
        setattr(emoca_core, name, getattr(emoca_core, name))  # pdoc does not ask for what is imported lazily
    pdoc.pdoc(*modules(), output_directory=SITE / "reference")
    pages = {"index": ROOT / "README.md", **{page.stem: page for page in sorted((ROOT / "docs").glob("*.md"))}}
    for name, page in pages.items():
        (SITE / f"{name}.html").write_text(page_to_html(page, list(pages)), encoding="utf-8")
    if (ROOT / "docs" / "images").is_dir():
        shutil.copytree(ROOT / "docs" / "images", SITE / "images")
    print(f"wrote {len(pages)} pages and the reference: {SITE / 'index.html'}")


def modules() -> list[str]:
    """Every module of both packages by name, because pdoc stops at ``__all__``; ``!`` leaves out what it finds."""
    found = [
        module.name
        for package in (emoca_core, emoca_plugins)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    absent = [f"!{name}" for name in without_dependency()]
    return ["emoca_core", "emoca_plugins", *(name for name in found if "__main__" not in name), *absent]


def without_dependency() -> Iterator[str]:
    """Modules of components whose extra is not installed."""
    registry = get_registry()
    for kind, name in registry:
        try:
            registry.resolve(kind, name)
        except ComponentImportError as error:
            print(f"without {kind} {name}: {error}")
            yield registry.find(kind, name).spec.target.partition(":")[0]


def page_to_html(page: Path, names: list[str]) -> str:
    """One Markdown file as a page whose links lead to the other pages."""
    text = page.read_text(encoding="utf-8").replace("docs/images/", "images/")
    text = _LINK.sub(lambda m: f"]({m[2]}.html{m[3] or ''})" if m[2] in names else m[0], text)
    text = re.sub(r"^```(\w+) run$", r"```\1", text, flags=re.MULTILINE)
    links = [f'<a href="{name}.html">{name}</a>' for name in names]
    return _PAGE.format(
        title=f"EMOCA Core: {page.stem}",
        navigation="".join([*links, '<a href="reference/index.html">reference</a>']),
        body=pdoc.render_helpers.to_html(text),
    )


if __name__ == "__main__":
    main()
