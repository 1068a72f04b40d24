"""The kinds of components: one table, from which everything else that depends on a kind derives.

A line says which interface a component of the kind implements, where it stands in a recipe, what the conformance kit
checks and what ``emoca new plugin`` writes. Plugins add lines by the hook ``emoca_kinds``.
"""

import importlib.resources
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Literal

from emoca_core.registry.spec import Kind, load_target

Place = Literal["required", "optional", "losses", "apart"]
"""Where components of a kind stand in a recipe: under the kind's own name, among the losses, or not at all."""


@dataclass(frozen=True, slots=True)
class KindSpec:
    """One kind of components; ``target``s are ``"package.module:name"`` and imported when they are needed.

    Attributes:
        name: Lower-case identifier, the key of a recipe that has such a part.
        summary: What such a component does, in a few words.
        interface: Target of the base class.
        place: Where it stands in a recipe.
        check: Target of the function that checks what the kind promises; it takes a
            ``emoca_core.testing.common.Subject``. ``None`` checks what all components promise.
        template: Source of the component that ``emoca new plugin`` writes, ``"package:path/to/file"``.
        example: What the component of the template does, one sentence.
        test_template: Source of its test.
    """

    name: Kind
    summary: str
    interface: str
    place: Place = "apart"
    check: str | None = None
    template: str | None = None
    example: str = ""
    test_template: str = "emoca_core.cli:plugin_template/test_plugin.py.txt"

    def load_interface(self) -> type:
        """Import the base class."""
        interface: type = load_target(self.interface)
        return interface

    def load_check(self) -> Callable[[object], None]:
        """Import what the conformance kit checks of this kind."""
        return load_target(self.check) if self.check else _nothing


def open_template(source: str) -> Traversable:
    """The file that ``"package:path/to/file"`` names."""
    package, _, path = source.partition(":")
    return importlib.resources.files(package).joinpath(path)


def part_kinds(kinds: Iterable[KindSpec] | None = None) -> list[Kind]:
    """Kinds that stand in a recipe under their own name, in the order in which a photo meets them."""
    table = KINDS.values() if kinds is None else kinds
    return [kind.name for kind in table if kind.place in ("required", "optional")]


def _nothing(subject: object) -> None:
    """A kind without promises of its own."""


def _kind(name: Kind, interface: str, place: Place, summary: str, example: str, **more: str) -> KindSpec:
    """A built-in kind, with what follows from its name."""
    templates = "emoca_core.cli:plugin_template"
    return KindSpec(
        name=name,
        summary=summary,
        interface=f"emoca_core.interfaces:{interface}",
        place=place,
        check=f"emoca_core.testing.{name}:check",
        template=f"{templates}/components/{name}.py.txt",
        example=example,
        **more,
    )


_BUILT_IN = (
    _kind("landmarker", "Landmarker", "optional", "photo to faces", "Takes the whole picture for one frontal face."),
    _kind("tracker", "Tracker", "optional", "detections of frames to tracks", "Follows the box that overlaps most."),
    _kind("encoder", "Encoder", "required", "face crop to parameters", "One linear layer on a coarse picture."),
    _kind("face_model", "FaceModel", "required", "parameters to mesh", "An ellipsoid with three axes."),
    _kind("renderer", "Renderer", "required", "mesh to pixels", "Rasterisation by definition."),
    _kind("detail", "DetailModel", "optional", "face crop to wrinkles", "Cosine waves as strong as in the brightness."),
    _kind("emotion_backbone", "EmotionBackbone", "optional", "picture to emotion", "Mean and spread of each colour."),
    _kind("loss", "Loss", "losses", "one term of the objective", "Keeps the shape close to the mean face."),
    _kind(
        *("dataset", "FaceDataset", "apart", "faces to learn from", "One folder for each expression."),
        test_template="emoca_core.cli:plugin_template/test_dataset.py.txt",
    ),
    _kind("exporter", "Exporter", "apart", "captured face to files", "The 68 landmarks as a table."),
    _kind("sender", "Sender", "apart", "live capture to other programs", "One line of text by UDP for each frame."),
)
KINDS: Mapping[Kind, KindSpec] = {kind.name: kind for kind in _BUILT_IN}
"""The built-in kinds, parts in the order in which a photo meets them."""
