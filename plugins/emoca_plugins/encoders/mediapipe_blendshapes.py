"""MediaPipe's 52 expression scores as a face code of their own."""

from collections.abc import Mapping

from emoca_core.errors import EmocaError
from emoca_core.interfaces import Block, Encoder, FaceCrop, FaceModel, FaceParameters, Parts
from emoca_core.registry.spec import ComponentParams
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.point_crops import UprightCrop
from emoca_plugins.encoders.pose_from_landmarks import POSE_BLOCKS, with_pose_from_landmarks


class MediapipeBlendshapes(Encoder):
    """Hands the landmarker's ARKit activations through as ``expression``; identity stays that of the average face.

    The result depends on the detection, not on the pixels. Head pose and camera are solved from the 68 landmarks when
    the method has a face model.

    Source: MediaPipe's Face Landmarker, whose scores estimate Apple's ARKit blendshapes (Grishchenko et al.,
    "Blendshapes GHUM", 2023).
    """

    class Params(ComponentParams):
        """``mediapipe_blendshapes`` has no parameters."""

    params: Params
    crop_rule = UprightCrop()
    needs = frozenset({"blendshapes", "landmarks"})

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.blocks: Mapping[Block, int] = {"expression": len(ARKIT_NAMES)}
        self._face_model: tuple[FaceModel, ...] = ()  # a tuple hides it from torch: it belongs to the method

    def attach(self, parts: Parts) -> None:
        """Head pose and camera join the code, because there is now a model whose landmarks can be compared."""
        self._face_model = (parts.face_model,)
        self.blocks = {**self.blocks, **POSE_BLOCKS}

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
        landmarks = crop.landmarks.get("ibug68")
        if landmarks is None or not self._face_model:
            return parameters
        return with_pose_from_landmarks(parameters, self._face_model[0], landmarks)
