"""What a user may choose about a reconstruction, besides the recipe."""

from dataclasses import dataclass

from emoca_core.errors import ParamsError
from emoca_core.images.crops import CropPolicy


@dataclass(frozen=True)
class Settings:
    """How photos are reconstructed.

    Attributes:
        crop: ``"native"`` cuts faces as the method was published, ``"shared"`` by one rule for all methods.
        same_person: The largest faces of all photos are one person and share one identity.
        batch_size: Faces that go through the encoder together.
        min_score: Faces that the detector is less sure of are left out, 0 to 1.
    """

    crop: CropPolicy = "native"
    same_person: bool = False
    batch_size: int = 8
    min_score: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a score that no face can have.

        Raises:
            ParamsError: ``min_score`` is not in [0, 1].
        """
        if not 0 <= self.min_score <= 1:
            raise ParamsError(f"min_score must be in [0, 1], got {self.min_score}")
