"""The Basel Face Model as ExpNet uses it: 99 identities, 29 expressions, 99 textures; landmarks from other files."""

from pathlib import Path

import numpy as np
from pydantic import Field

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.formats import Content
from emoca_core.interfaces import Block
from emoca_core.registry.assets import find_assets, has_asset
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.face_models.bfm_files import BFM09_EXPRESSION_INDEX, BFM_EXPNET, BFM_NONECK
from emoca_plugins.face_models.linear_face import BaselFace
from emoca_plugins.face_models.morphable import check_indices
from emoca_plugins.face_models.vertex_lists import (
    BASEL_VERTICES,
    BFM_3DDFA_INDICES,
    BFM_EXPNET_LANDMARKS,
    EXPRESSION_VERTICES,
    LANDMARKS,
)

MICROMETRE = 1e-6
"""The published model's unit, in metres."""
PLAUSIBLE_HEIGHT = (0.1, 0.6)
"""Of a face, with or without a neck, metres."""
SAME_PLACE = 0.01
"""How far apart the same landmark may be on two mean faces, metres; a wrong list of vertices is off by far more."""

LIST = "bfm_expnet_landmarks"
FROM_3DDFA = ("bfm_3ddfa", "bfm_3ddfa_indices")
TO_BASEL = "bfm_expression_index"
ASSETS = {
    "bfm_expnet": BFM_EXPNET,
    LIST: BFM_EXPNET_LANDMARKS,
    "bfm_3ddfa": BFM_NONECK,
    "bfm_3ddfa_indices": BFM_3DDFA_INDICES,
    TO_BASEL: BFM09_EXPRESSION_INDEX,
}
"""Format of each asset."""


class BfmExpnet(BaselFace):
    """Chang et al., "ExpNet", FG 2018; Tran et al., CVPR 2017.

    Blocks: ``shape`` (99), ``expression`` (29) and ``albedo`` (99) in standard deviations, ``global_pose`` about the
    published origin. Albedo is one colour per vertex. Landmarks: ``ibug68``.

    The published model has no landmarks. They come from the asset ``bfm_expnet_landmarks``, a list of 68 vertices of
    your own, or else from 3DDFA-V2's model, whose vertices are a selection of the same mesh: ``bfm_3ddfa`` has the 68,
    ``bfm_3ddfa_indices`` leads to the 53,215 vertices of the expression basis, and ``bfm_expression_index`` to the
    53,490 of the Basel Face Model. Landmarks from there are accepted only if they form the same mean face.

    Source: Expression-Net public code, S = shapeMU + shapePC (shapeEV a) + expMU + expPC (expEV e); micrometres become
    metres here.
    """

    class Params(ComponentParams):
        model: Path | None = None
        """``BaselFaceModel_mod.mat`` or a converted file, instead of the asset."""
        landmarks: Path | None = None
        """Text or npy file of 68 zero-based vertex numbers in iBUG order, instead of the asset."""
        model_3ddfa: Path | None = None
        """``bfm_noneck_v3.pkl``, instead of the asset."""
        indices_3ddfa: Path | None = None
        """3DDFA-V2's ``indices.npy``, instead of the asset."""
        expression_index: Path | None = None
        """``BFM_exp_idx.mat``, instead of the asset."""
        shape_size: int = Field(default=99, ge=1, le=99)
        """Identity components."""
        expression_size: int = Field(default=29, ge=1, le=29)
        """Expression components."""
        albedo_size: int = Field(default=99, ge=1, le=99)
        """Texture components."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        model = self._open_model()
        mean = _in_metres(model)
        p = self.params
        sizes: dict[Block, int] = {"shape": p.shape_size, "expression": p.expression_size, "albedo": p.albedo_size}
        self._register_basel(model, mean, MICROMETRE, sizes)
        self._constant("landmark_vertices", self._find_landmarks(mean))

    def _given(self) -> dict[str, Path | None]:
        """Every asset with the path that the user gave for it."""
        p = self.params
        paths = (p.model, p.landmarks, p.model_3ddfa, p.indices_3ddfa, p.expression_index)
        return dict(zip(ASSETS, paths, strict=True))

    def _open(self, *names: str) -> list[Content]:
        given = self._given()
        return list(self._open_assets({name: (given[name], ASSETS[name]) for name in names}).values())

    def _open_model(self) -> Content:
        try:
            return self._open("bfm_expnet")[0]
        except MissingAssetError as error:
            self._require_landmarks(BASEL_VERTICES, str(error))
            raise

    def _find_landmarks(self, mean: np.ndarray) -> np.ndarray:
        """The 68 vertices, from the first source that is there."""
        if self._has(LIST):
            (listed,) = self._open(LIST)
            check_indices(listed.array("landmark_vertices"), len(mean), "the landmark list", listed.path)
            return listed.array("landmark_vertices")
        self._require_landmarks(len(mean))
        return _landmarks_of_3ddfa(mean, self._open(*_chain(len(mean))))

    def _has(self, name: str) -> bool:
        return self._given()[name] is not None or has_asset(name)

    def _require_landmarks(self, vertex_count: int, before: str = "") -> None:
        """Say at once what every way to the landmarks lacks, unless one of them lacks nothing.

        Raises:
            MissingAssetError: No way is complete.
        """
        chain = _chain(vertex_count)
        lacking = [name for name in chain if not self._has(name)]
        if self._has(LIST) or (chain and not lacking):
            return
        try:
            find_assets(dict.fromkeys([LIST, *lacking]))
        except MissingAssetError as error:
            parts = [before, _explain_ways(vertex_count), str(error)]
            raise MissingAssetError("\n".join(part for part in parts if part)) from None


def _chain(vertex_count: int) -> tuple[str, ...]:
    """The files that lead from 3DDFA-V2's landmarks to a mesh of so many vertices; none where they do not."""
    return {EXPRESSION_VERTICES: FROM_3DDFA, BASEL_VERTICES: (*FROM_3DDFA, TO_BASEL)}.get(vertex_count, ())


def _explain_ways(vertex_count: int) -> str:
    chain = _chain(vertex_count)
    if not chain:
        return (
            f"bfm_expnet has no landmarks of its own. A model of {vertex_count} vertices (neither {BASEL_VERTICES} nor "
            f"{EXPRESSION_VERTICES}) takes them from '{LIST}' alone:"
        )
    together = " + ".join(f"'{name}'" for name in chain)
    return f"bfm_expnet has no landmarks of its own; give either '{LIST}' or {together}. Of these are missing:"


def _in_metres(model: Content) -> np.ndarray:
    """The mean face.

    Raises:
        AssetFormatError: It does not have the size of a face if its unit is the micrometre.
    """
    mean: np.ndarray = model.array("mean_shape") * MICROMETRE
    height = float(np.ptp(mean[:, 1]))
    if not PLAUSIBLE_HEIGHT[0] < height < PLAUSIBLE_HEIGHT[1]:
        raise AssetFormatError(
            f"{model.path} should be in micrometres, but its mean face would be {height:.3g} m high "
            f"(expected {PLAUSIBLE_HEIGHT[0]} to {PLAUSIBLE_HEIGHT[1]} m)"
        )
    return mean


def _landmarks_of_3ddfa(mean: np.ndarray, chain: list[Content]) -> np.ndarray:
    """3DDFA-V2's landmarks followed to the vertices of another mesh.

    Raises:
        AssetFormatError: The files do not belong together, or the points form another face.
    """
    source, *selections = chain
    vertices = source.array("landmark_vertices")
    if len(vertices) != LANDMARKS:
        raise AssetFormatError(f"{source.path} has {len(vertices)} landmarks, expected {LANDMARKS}")
    theirs, size, owner = source.array("mean_shape") * MICROMETRE, len(source.array("mean_shape")), source
    check_indices(vertices, size, "keypoints", source.path)
    expected = theirs[vertices]
    for selection in selections:
        chosen = selection.array("vertices")
        if len(chosen) != size:
            raise AssetFormatError(f"{selection.path} chooses {len(chosen)} vertices, {owner.path} needs {size}")
        vertices, size, owner = chosen[vertices], EXPRESSION_VERTICES, selection
    check_indices(vertices, len(mean), "the choice of vertices", owner.path)
    found = mean[vertices]
    apart = float(np.linalg.norm((found - found.mean(0)) - (expected - expected.mean(0)), axis=1).max())
    if not apart < SAME_PLACE:
        raise AssetFormatError(
            f"the landmarks of {source.path} do not lie on the same places of ExpNet's mean face (up to "
            f"{1000 * apart:.3g} mm apart): its vertices are in another order; give '{LIST}'"
        )
    return vertices
