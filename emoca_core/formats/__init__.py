"""Whose is this file? Tables, given by plugins, say which entries make which model.

``open`` looks into a file of any container and tells its entries; ``convert`` recognises it by the tables of all
plugins (``known``) and turns it into plain arrays; ``add`` keeps them in the asset folder. ``Format`` and ``Bundle``
are what a plugin writes; it opens its own files with ``open_asset``.
"""

from emoca_core.formats.content import BARE, Content
from emoca_core.formats.convert import open_asset
from emoca_core.formats.networks import network_formats
from emoca_core.formats.open import open_content
from emoca_core.formats.surface import Surface
from emoca_core.formats.table import Arrays, Bundle, Format, Use, keep_all, named

__all__ = [
    "BARE",
    "Arrays",
    "Bundle",
    "Content",
    "Format",
    "Surface",
    "Use",
    "keep_all",
    "named",
    "network_formats",
    "open_asset",
    "open_content",
]
