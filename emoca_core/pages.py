"""HTML pages from templates; what is put into them is escaped."""

import os
import re
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2 import Environment

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
"""How Python writes the bytes of a file name that are not UTF-8."""


def html_page(template: str, package: str = "emoca_core", **values: object) -> str:
    """Fill a template of a package's folder ``templates``; it may build on those of ``emoca_core``.

    Args:
        template: Its name, without ``.html.jinja``.
        package: Where it lies.
        **values: What it shows. A name that the template uses and that is not given is an error.
    """
    pieces = _environment(package).get_template(f"{template}.html.jinja").generate(values)
    return "".join(piece if piece.isascii() else _LONE_SURROGATES.sub("\ufffd", piece) for piece in pieces)


@cache
def _environment(package: str) -> "Environment":
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(name) for name in dict.fromkeys([package, "emoca_core"])])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["link"] = _link
    return environment


def _link(path: PurePath) -> str:
    """A path as a URL, byte for byte."""
    return quote(os.fsencode(path.as_posix()))
