"""The two faces of an optimisation: one says who is shown, one which expression."""

from pathlib import Path

from emoca_core.errors import ImageError
from emoca_core.images.crops import choose_crop, crops_to_batch
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import CapturedFace, FaceCrop
from emoca_core.method import Method
from emoca_core.reconstruction import Settings
from emoca_core.reconstruction.capture import capture_faces, find_faces


def one_face(method: Method, photo: Path | str, number: int = 0, settings: Settings | None = None) -> CapturedFace:
    """One face of a photo; number 0 is the largest.

    Raises:
        ImageError: The photo cannot be read, or shows no such face.
        RecipeError: The method has no landmarker.
    """
    settings, read = settings or Settings(), read_photo(Path(photo))
    faces = find_faces(method, read, settings).faces
    if not faces and method.landmarker is not None:
        raise ImageError(f"{photo}: {method.landmarker.explain_no_face(read.pixels)}")
    if number >= len(faces):
        raise ImageError(f"{photo}: there is no face {number}: the photo shows {len(faces)}, and the largest is 0")
    return capture_faces(method, [faces[number]], settings)[0]


def crop_of(method: Method, face: CapturedFace) -> FaceCrop:
    """A face as its method cut it out of its photo: a batch of one."""
    rule = choose_crop(face.crop.policy, method.encoder.crop_rule)
    return crops_to_batch([rule(face.photo.pixels, face.detection)], [face.detection], [face.photo.size])
