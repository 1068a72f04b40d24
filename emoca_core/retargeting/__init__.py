"""A face that moves as somebody else's does."""

from emoca_core.retargeting.curve import Curve
from emoca_core.retargeting.drivers import READERS, open_driving
from emoca_core.retargeting.driving import Driving
from emoca_core.retargeting.onto import open_onto
from emoca_core.retargeting.retarget_settings import RetargetSettings
from emoca_core.retargeting.retargeted_sequence import RetargetedSequence, retarget
from emoca_core.retargeting.to_folder import RetargetReport, retarget_to_folder

__all__ = [
    "READERS",
    "Curve",
    "Driving",
    "RetargetReport",
    "RetargetSettings",
    "RetargetedSequence",
    "open_driving",
    "open_onto",
    "retarget",
    "retarget_to_folder",
]
