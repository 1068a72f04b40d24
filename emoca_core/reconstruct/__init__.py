"""From photos to 3D faces: find, cut, encode in batches, and write what each face is."""

from emoca_core.reconstruct.capture import reconstruct
from emoca_core.reconstruct.captured import CapturedFace
from emoca_core.reconstruct.folder import Report, reconstruct_to_folder
from emoca_core.reconstruct.settings import Settings

__all__ = ["CapturedFace", "Report", "Settings", "reconstruct", "reconstruct_to_folder"]
