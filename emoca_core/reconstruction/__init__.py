"""From photos to 3D faces: find, cut, encode in batches, and write what each face is."""

from emoca_core.interfaces import CapturedFace, CapturedSequence
from emoca_core.reconstruction.capture import crops_of, reconstruct
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.reconstruction.clip_settings import ClipSettings
from emoca_core.reconstruction.report import Report
from emoca_core.reconstruction.saving import DEFAULT_WRITE
from emoca_core.reconstruction.sequence_settings import SequenceSettings
from emoca_core.reconstruction.sequences import reconstruct_sequence
from emoca_core.reconstruction.to_folder import reconstruct_to_folder

__all__ = [
    "DEFAULT_WRITE",
    "CapturedFace",
    "CapturedSequence",
    "ClipSettings",
    "Report",
    "SequenceSettings",
    "Settings",
    "crops_of",
    "reconstruct",
    "reconstruct_sequence",
    "reconstruct_to_folder",
]
