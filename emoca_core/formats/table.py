"""How a published file is described: which entries of which shapes it has, and what becomes of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emoca_core.formats.content import Container, Content, Shape

Arrays = dict[str, np.ndarray]


def keep_all(content: Content) -> Arrays:
    """Every entry as it is."""
    return {name: content.array(name) for name in content.shapes}


def always(content: Content) -> bool:
    """No further condition."""
    return True


@dataclass(frozen=True)
class Format:
    """One published format.

    Attributes:
        name: Identifier, written into converted files.
        assets: Assets that such a file can be; without a hint it is the first.
        entries: Required entry -> shape: integers, letters (equal wherever they stand), ``_`` (any), or ``...`` (any
            number of dimensions).
        convert: To plain arrays under our names.
        containers: How it may be stored; empty for any.
        matches: A further condition on the content, for files that their entries alone do not tell apart.
        hints: Part of a file name -> asset, for files whose content is alike.
        part_of: Bundle that it belongs to, for models that are built from several files. Such a part is no asset by
            itself, unless ``assets`` names another one than the bundle.
    """

    name: str
    assets: tuple[str, ...]
    entries: Mapping[str, str]
    convert: Callable[[Content], Arrays] = keep_all
    containers: tuple[Container, ...] = ()
    matches: Callable[[Content], bool] = always
    hints: Mapping[str, str] | None = None
    part_of: str | None = None

    @property
    def stands_alone(self) -> bool:
        """Whether such a file is an asset by itself, be it also a part of a bundle."""
        return self.part_of not in self.assets

    def has_entries(self, content: Content) -> bool:
        """Whether container and entry names fit."""
        return (not self.containers or content.container in self.containers) and all(
            name in content.shapes for name in self.entries
        )

    def wrong_shapes(self, content: Content) -> list[str]:
        """One line for each entry of an unexpected shape."""
        letters: dict[str, int] = {}
        return [
            f"{name or 'the array'} is {_text(content.shapes[name])}, expected [{pattern}]"
            for name, pattern in self.entries.items()
            if not fits(content.shapes[name], pattern, letters)
        ]

    def asset_for(self, path: Path) -> str:
        """The asset that a file of this name is."""
        hints = (self.hints or {}).items()
        return next((asset for part, asset in hints if part in path.name.lower()), self.assets[0])


def fits(shape: Shape, pattern: str, letters: dict[str, int]) -> bool:
    """Whether a shape follows a pattern; ``letters`` remembers the sizes seen so far."""
    words = pattern.split()
    if words == ["..."]:
        return True
    if len(words) != len(shape):
        return False
    return all(
        word == "_" or size == (int(word) if word.isdigit() else letters.setdefault(word, size))
        for word, size in zip(words, shape, strict=True)
    )


def _text(shape: Iterable[int]) -> str:
    return "[" + " ".join(map(str, shape)) + "]"
