"""How a published file is described: which entries of which shapes it has, and what becomes of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.formats.content import BARE, Container, Content, Shape
from emoca_core.formats.surface import Surface
from emoca_core.registry.spec import Kind

Arrays = dict[str, np.ndarray]


def keep_all(content: Content) -> Arrays:
    """Every entry as it is."""
    return {name: content.array(name) for name in content.shapes}


def named(name: str) -> Callable[[Content], Arrays]:
    """The only array of a file, as it is, under a name."""
    return lambda content: {name: content.array(BARE)}


@dataclass(frozen=True)
class Use:
    """A component that reads a file. Building it from the file proves all names, shapes and numbers at once.

    Attributes:
        kind: Kind of the component.
        name: Its name.
        params: Its parameters besides the file, so that it needs no other file; or a function that tells them.
        parameter: The parameter that takes the file.
        where: Names that begin so are its business; a file with none of them is complete without.
    """

    kind: Kind
    name: str
    params: Mapping[str, object] | Callable[[Content], Mapping[str, object]] = field(default_factory=dict)
    parameter: str = "weights"
    where: str = ""


@dataclass(frozen=True)
class Bundle:
    """A model that is built from several files, which are added together.

    Attributes:
        asset: What they make.
        format: Name of the format of the result.
        parts: Format of each file -> how it is published.
        build: Makes the arrays of ``format`` from the files.
    """

    asset: str
    format: str
    parts: Mapping[str, str]
    build: Callable[[Mapping[str, Content]], Arrays]


@dataclass(frozen=True)
class Format:
    """One published format.

    Attributes:
        name: Identifier, written into converted files.
        assets: Assets that such a file can be; without a hint it is the first. By default the bundle's, or the one of
            the format's own name.
        entries: Required entry -> shape: integers, letters (equal wherever they stand), ``_`` (any), or ``...`` (any
            number of dimensions).
        convert: To plain arrays under our names.
        containers: How it may be stored; empty for any.
        matches: A further condition on the content, for files that their entries alone do not tell apart.
        hints: Part of a file name -> asset, for files whose content is alike.
        part_of: Bundle that it belongs to, for models that are built from several files. Such a part is no asset by
            itself, unless ``assets`` names another one than the bundle.
        indices: Converted array of indices -> converted array whose rows they number.
        surfaces: Meshes among the converted arrays; what cannot be one is refused.
        used_by: Components that read the file, for weights of networks.
        switches: Settings of the training that the converted file keeps, because its component asks for them.
        as_tensors: Keep what it is converted to as safetensors, under a network's own names, for whoever runs it.
        key_file: For folders: the file that tells whether this one is known already.
    """

    name: str
    assets: tuple[str, ...] = ()
    entries: Mapping[str, str] = field(default_factory=dict)
    convert: Callable[[Content], Arrays] = keep_all
    containers: tuple[Container, ...] = ()
    matches: Callable[[Content], bool] = lambda content: True
    hints: Mapping[str, str] = field(default_factory=dict)
    part_of: Bundle | None = None
    indices: Mapping[str, str] = field(default_factory=dict)
    surfaces: tuple[Surface, ...] = ()
    used_by: tuple[Use, ...] = ()
    switches: tuple[str, ...] = ()
    as_tensors: bool = False
    key_file: Callable[[Path], Path] = lambda path: path

    def __post_init__(self) -> None:
        """Name the asset, where that goes without saying."""
        if not self.assets:
            object.__setattr__(self, "assets", (self.part_of.asset if self.part_of else self.name,))

    @property
    def stands_alone(self) -> bool:
        """Whether such a file is an asset by itself, be it also a part of a bundle."""
        return self.part_of is None or self.part_of.asset not in self.assets

    def has_entries(self, content: Content) -> bool:
        """Whether container and entry names fit."""
        return (not self.containers or content.container in self.containers) and all(
            name in content.shapes for name in self.entries
        )

    def fits(self, content: Content) -> bool:
        """Whether a published file is of this format."""
        return self.has_entries(content) and not self.wrong_shapes(content) and self.matches(content)

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
        return next((asset for part, asset in self.hints.items() if part in path.name.lower()), self.assets[0])

    def converted(self, content: Content) -> Arrays:
        """The arrays of a published file under our names, finite and with indices that point at something.

        Raises:
            AssetFormatError: Its parts do not fit together.
        """
        try:
            arrays = self.convert(content)
        except (ValueError, IndexError, KeyError, TypeError) as error:
            if isinstance(error, AssetFormatError):
                raise
            raise AssetFormatError(
                f"{content.path} looks like {self.name}, but its parts do not fit: {error}"
            ) from None
        self.check(arrays, content.path)
        return arrays

    def check(self, arrays: Arrays, path: Path) -> None:
        """Refuse numbers that no model can have.

        Raises:
            AssetFormatError: NaN, infinity, an index of a row that is not there, or a mesh without a shape.
        """
        wild = [name for name, array in arrays.items() if array.dtype.kind in "fc" and not np.isfinite(array).all()]
        if wild and not self.used_by:  # a network's component says which of its tensors it needs
            raise AssetFormatError(f"{path} looks like {self.name}, but holds NaN or infinity: {', '.join(wild)}")
        for name, target in self.indices.items():
            if name in arrays and target in arrays and arrays[name].size:
                low, high, rows = int(arrays[name].min()), int(arrays[name].max()), len(arrays[target])
                if low < 0 or high >= rows:
                    raise AssetFormatError(
                        f"{path} looks like {self.name}, but {name} refers to {low if low < 0 else high}, "
                        f"and {target} has {rows} rows"
                    )
        if faults := [fault for surface in self.surfaces for fault in surface.faults(arrays)]:
            raise AssetFormatError(f"{path} looks like {self.name}, but is no face: {'; '.join(faults)}")


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
