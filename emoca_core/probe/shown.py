"""What the faces of a method show, as a row of its own in a table."""

from dataclasses import dataclass
from typing import ClassVar

from emoca_core.images.crops import CropPolicy
from emoca_core.interfaces import CropRule, FaceModel
from emoca_core.probe.codes import CodeSource, RecipeSource


@dataclass(frozen=True)
class ShownSource(CodeSource):
    """Codes that are read from the faces that another method's codes make.

    Attributes:
        of: The method.
        face_model: Poses its codes.
        mark: Follows the method's name.
    """

    of: RecipeSource
    face_model: FaceModel
    mark: ClassVar[str]

    @property
    def name(self) -> str:  # type: ignore[override]
        """The method's name, marked."""
        return f"{self.of.name} {self.mark}"

    @property
    def crop(self) -> CropPolicy:  # type: ignore[override]
        """The method's."""
        return self.of.crop

    @property
    def rule(self) -> CropRule:
        return self.of.rule
