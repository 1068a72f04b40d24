"""ICT FaceKit, light version: an open head with 100 identities and 53 named expressions."""

from pathlib import Path

import numpy as np
from pydantic import Field

from emoca_core.registry.spec import ComponentParams
from emoca_plugins.face_models.head_files import ICT_EXPRESSIONS, ICT_FACEKIT
from emoca_plugins.face_models.linear_face import LinearFace

PARTS = {
    "face": (0, 9409),
    "head_and_neck": (9409, 11248),
    "mouth_socket": (11248, 13294),
    "left_eye_socket": (13294, 13678),
    "right_eye_socket": (13678, 14062),
    "gums_and_tongue": (14062, 17039),
    "teeth": (17039, 21451),
    "left_eyeball": (21451, 23021),
    "right_eyeball": (23021, 24591),
    "left_lacrimal_fluid": (24591, 24795),
    "right_lacrimal_fluid": (24795, 24999),
    "left_eye_blend": (24999, 25023),
    "right_eye_blend": (25023, 25047),
    "left_eye_occlusion": (25047, 25199),
    "right_eye_occlusion": (25199, 25351),
    "left_eyelashes": (25351, 26035),
    "right_eyelashes": (26035, 26719),
}
"""First and last-plus-one vertex of each part. Source: the model's README."""
HELPERS = tuple(name for name in PARTS if name.endswith(("blend", "occlusion", "lacrimal_fluid", "eyelashes")))
"""Transparent shells for game engines; opaque, they would hide the eyes."""
ATLAS_SIDE = 3
"""Tiles per row of the atlas that the published UDIM tiles 0 to 6 and two more are packed into."""
OVERLAPPING = {7: ("left_eyeball", "right_eyeball"), 8: HELPERS[2:6]}
"""Atlas tile -> parts that the published layout puts on top of the face."""
LANDMARKS = (
    *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443),
    *(268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509),
    *(978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360),
    *(1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732),
    *(5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841),
    *(5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966),
)
"""Vertices of the 68 iBUG points. Source: the model's README ("Multi-PIE 68 points")."""


class IctFaceKit(LinearFace):
    """Li et al., "Learning formation of physically-based face attributes", CVPR 2020.

    26,719 vertices, of which the helper shells around the eyes are left out of ``faces`` unless asked for. Blocks:
    ``shape`` (100, standard deviations), ``expression`` (53 activations, ``expression_names``: ARKit's without the
    tongue, with brow raise and cheek puff for each side), ``global_pose`` about the mesh's origin.
    Landmarks: ``ibug68``, on fixed vertices. Texture coordinates: the published UDIM tiles packed into one square.

    Source: the repository's README; its OBJ files in centimetres become metres here.
    """

    class Params(ComponentParams):
        model: Path | None = None
        """A clone of the repository or a converted file, instead of the asset."""
        shape_size: int = Field(default=100, ge=1, le=100)
        """Identity components."""
        helper_shells: bool = False
        """Whether ``faces`` has the transparent shells around the eyes and the eyelashes."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        model = self._open_assets({"ict_facekit": (self.params.model, ICT_FACEKIT)})["ict_facekit"]
        mean = model.array("mean_shape")
        identity = model.array("shape_basis")[: self.params.shape_size]
        self._register_masks({name: _between(len(mean), *part) for name, part in PARTS.items()})
        faces, uv_faces = model.array("faces"), model.array("uv_faces")
        uv = packed_uv(model.array("uv"), uv_faces, faces[:, 0])
        if not self.params.helper_shells:
            hidden = np.any([_between(len(mean), *PARTS[name]) for name in HELPERS], axis=0)
            keep = ~hidden[faces[:, 0]]
            faces, uv_faces = faces[keep], uv_faces[keep]
        self._register_face(mean, [identity, model.array("expression_basis")], faces)
        self._register_landmarks(np.array(LANDMARKS), model.path)
        self._constant("uv", uv)
        self._constant("uv_faces", uv_faces)
        self.expression_names = tuple(arkit_spelling(name) for name in ICT_EXPRESSIONS)
        self.blocks = {"shape": len(identity), "expression": len(ICT_EXPRESSIONS), "global_pose": 3}


def packed_uv(uv: np.ndarray, uv_faces: np.ndarray, vertex_of_face: np.ndarray) -> np.ndarray:
    """UDIM texture coordinates as one atlas in [0, 1] without overlaps.

    Args:
        uv: [U, 2] published coordinates, u from 0 to 7.
        uv_faces: [F, 3] triangles into them.
        vertex_of_face: [F] a vertex of each triangle, which tells its part.
    """
    tile = np.floor(uv[:, 0]).astype(np.int64)
    inside = uv - np.stack([tile, np.zeros_like(tile)], axis=1)
    for number, parts in OVERLAPPING.items():
        for part in parts:
            first, end = PARTS[part]
            tile[uv_faces[(vertex_of_face >= first) & (vertex_of_face < end)]] = number
    corner = np.stack([tile % ATLAS_SIDE, tile // ATLAS_SIDE], axis=1)
    return (inside + corner) / ATLAS_SIDE


def arkit_spelling(name: str) -> str:
    """``mouthSmile_L`` is ARKit's ``mouthSmileLeft``."""
    stem, _, side = name.partition("_")
    return stem + {"": "", "L": "Left", "R": "Right"}[side]


def _between(count: int, first: int, end: int) -> np.ndarray:
    index = np.arange(count)
    return (index >= first) & (index < end)
