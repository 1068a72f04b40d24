"""From photos to 3D faces: find, cut, encode in batches, and write what each face is."""

from emoca_core.interfaces import CapturedFace, CapturedSequence
from emoca_core.reconstruction.capture import reconstruct
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.reconstruction.saving import DEFAULT_WRITE
from emoca_core.reconstruction.to_folder import Report, reconstruct_to_folder

__all__ = [
    "DEFAULT_WRITE",
    "CapturedFace",
    "CapturedSequence",
    "Report",
    "Settings",
    "reconstruct",
    "reconstruct_to_folder",
]
