"""The values of Epic's app Live Link Face: names and order in its recordings and in its packets."""

from emoca_core.vocabulary.arkit import ARKIT_NAMES

_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
_SIDES = ("Left", "Right")

LIVE_LINK_VALUES = (
    *(f"Eye{name}{side}" for side in _SIDES for name in _EYE),
    *("JawForward", "JawRight", "JawLeft", "JawOpen"),
    *("MouthClose", "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft"),
    *(f"Mouth{name}{side}" for name in ("Smile", "Frown", "Dimple", "Stretch") for side in _SIDES),
    *("MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"),
    *(f"Mouth{name}{side}" for name in ("Press", "LowerDown", "UpperUp") for side in _SIDES),
    *("BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight"),
    *("CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut"),
)
"""The 52 ARKit values."""
LIVE_LINK_ROTATIONS = tuple(
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
)
"""Radians; see ``emoca_core.export.angles.yaw_pitch_roll``."""
FROM_ARKIT = [ARKIT_NAMES.index(name[0].lower() + name[1:]) for name in LIVE_LINK_VALUES]
"""Where each of the 52 is in ``ARKIT_NAMES``."""
