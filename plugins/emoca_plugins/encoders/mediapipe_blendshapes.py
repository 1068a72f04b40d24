"""MediaPipe's 52 expression scores as a face code of their own."""

from collections.abc import Mapping

from emoca_core.errors import EmocaError
from emoca_core.interfaces import Block, FaceCrop, FaceParameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.point_crops import UprightCrop
from emoca_plugins.encoders.pose_from_landmarks import PosedByLandmarks


class MediapipeBlendshapes(PosedByLandmarks):
    """Hands the landmarker's ARKit activations through as ``expression``; identity stays that of the average face.

    The result depends on the detection, not on the pixels. Head pose and camera are solved from the 68 landmarks when
    the method has a face model.

    Source: MediaPipe's Face Landmarker, whose scores estimate Apple's ARKit blendshapes (Grishchenko et al.,
    "Blendshapes GHUM", 2023).
    """

    blocks: Mapping[Block, int] = {"expression": len(ARKIT_NAMES)}
    crop_rule = UprightCrop()
    needs = frozenset({"blendshapes", "landmarks"})

    def forward(self, crop: FaceCrop) -> FaceParameters:
        """The scores of every face.

        Raises:
            EmocaError: The landmarker gave none.
        """
        if crop.blendshapes is None:
            raise EmocaError(
                "mediapipe_blendshapes needs the landmarker's expression scores: use the landmarker mediapipe"
            )
        parameters = FaceParameters(expression=crop.blendshapes, units={"expression": "activation"})
        return self.posed(parameters, crop)
