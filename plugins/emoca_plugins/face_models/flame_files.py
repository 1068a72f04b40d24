"""FLAME's files and what surrounds them: landmark embeddings, template, textures, masks, eyelids."""

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.formats import BARE, Arrays, Content, Format, Surface, keep_all, named


def _model(content: Content) -> Arrays:
    parents = np.concatenate([[-1], content.array("kintree_table").astype(np.int64)[0, 1:]])  # published as 2**32 - 1
    if not all(0 <= parent < joint for joint, parent in enumerate(parents[1:], 1)):
        raise AssetFormatError(
            f"{content.path} looks like flame_model, but in kintree_table a joint hangs on none before it"
        )
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
    reals = {name: content.array(name, np.float64) for name in names}
    return {**reals, "faces": content.array("f").astype(np.int64), "parents": parents}


def _landmarks(content: Content) -> Arrays:
    arrays = keep_all(content)
    return {name: array[0] if name.startswith("full_") else array for name, array in arrays.items()}


def _texture_model(content: Content, mean: str, basis: str, divisor: float) -> Arrays:
    """Mean and one array per component, so that only the wanted ones are read; RGB, row 0 on top, reflectance.

    Source: DECA's texture space: [side, side, 3] pixels in BGR; FLAME's from 0 to 255, BFM's from 0 to 1.
    """
    flat = content.array(mean, np.float32).ravel()
    side = round((flat.size / 3) ** 0.5)
    components = content.array(basis, np.float32)
    if side * side * 3 != flat.size or components.size % flat.size:
        raise AssetFormatError(f"{content.path}: '{mean}' {flat.shape} and '{basis}' {components.shape} do not fit")
    components = components.reshape(flat.size, -1)
    arrays = {"mean": _to_rgb(flat, side) / divisor}
    for k in range(components.shape[1]):
        arrays[f"component_{k:03d}"] = _to_rgb(components[:, k], side) / divisor
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _to_rgb(flat: np.ndarray, side: int) -> np.ndarray:
    return flat.reshape(side, side, 3)[..., ::-1]


def _is_sparse(content: Content) -> bool:
    moved = np.abs(content.array(BARE)).max(axis=1) > 0
    return bool(0 < moved.sum() < moved.size / 2)  # lids are a small part of a head


FLAME_MODEL = Format(
    "flame_model",
    entries={
        **{"v_template": "V 3", "shapedirs": "V 3 _", "posedirs": "V 3 36", "J_regressor": "5 V"},
        **{"kintree_table": "2 5", "weights": "V 5", "f": "_ 3"},
    },
    assets=("flame", "flame_2023", "flame_2023_open"),
    convert=_model,
    hints={"2023_open": "flame_2023_open", "2023open": "flame_2023_open", "2023": "flame_2023"},
    indices={"faces": "v_template"},
    surfaces=(Surface("v_template", "faces", moved_by=("shapedirs", "J_regressor", "weights")),),
)
FLAME_LANDMARKS = Format(
    "flame_landmarks",
    entries={
        **{"static_lmk_faces_idx": "S", "static_lmk_bary_coords": "S 3"},
        **{"dynamic_lmk_faces_idx": "79 C", "dynamic_lmk_bary_coords": "79 C 3"},
        **{"full_lmk_faces_idx": "1 L", "full_lmk_bary_coords": "1 L 3"},
    },
    convert=_landmarks,
)
FLAME_MEDIAPIPE_LANDMARKS = Format(
    "flame_mediapipe_landmarks", entries={"lmk_face_idx": "L", "lmk_b_coords": "L 3", "landmark_indices": "L"}
)
FLAME_TEMPLATE = Format(
    "flame_template",
    entries={"vertices": "_ 3", "uv": "_ 2", "faces": "F 3", "uv_faces": "F 3"},
    containers=("obj",),
    matches=lambda content: content.shapes["uv"][0] > 0 and content.shapes["uv_faces"][0] > 0,
    surfaces=(Surface("vertices", "faces"), Surface("uv", "uv_faces")),
)
FLAME_TEXTURE = Format(
    "flame_texture",
    entries={"mean": "...", "tex_dir": "..."},
    convert=lambda content: _texture_model(content, "mean", "tex_dir", 255.0),
)
FLAME_ALBEDO_FROM_BFM = Format(
    "flame_albedo_from_bfm",
    entries={"MU": "...", "PC": "..."},
    convert=lambda content: _texture_model(content, "MU", "PC", 1.0),
    matches=lambda content: "specMU" not in content.shapes,  # AlbedoMM has the same names, other units and no BFM basis
)
FLAME_MASKS = Format("flame_masks", entries={"face": "_", "scalp": "_", "nose": "_", "left_eyeball": "_"})
FLAME_EYELID = Format(
    "flame_eyelid",
    entries={BARE: "V 3"},
    assets=("flame_eyelid_left", "flame_eyelid_right"),
    convert=named("offsets"),
    containers=("npy",),
    matches=_is_sparse,
    hints={"r_eyelid": "flame_eyelid_right", "right": "flame_eyelid_right"},
)
FORMATS = (
    *(FLAME_MODEL, FLAME_LANDMARKS, FLAME_MEDIAPIPE_LANDMARKS, FLAME_TEMPLATE),
    *(FLAME_TEXTURE, FLAME_ALBEDO_FROM_BFM, FLAME_MASKS, FLAME_EYELID),
)
