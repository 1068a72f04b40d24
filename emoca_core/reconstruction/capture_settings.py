"""What a user may choose about a reconstruction, besides the recipe."""

from dataclasses import dataclass

from emoca_core.images.crops import CropPolicy


@dataclass(frozen=True)
class Settings:
    """How photos are reconstructed.

    Attributes:
        crop: ``"native"`` cuts faces as the method was published, ``"shared"`` by one rule for all methods.
        same_person: The largest faces of all photos are one person and share one identity.
        batch_size: Faces that go through the encoder together.
    """

    crop: CropPolicy = "native"
    same_person: bool = False
    batch_size: int = 8
