"""DECA's UV data: displacement, masks, mean texture, dense template."""

import numpy as np

from emoca_core.formats import BARE, Arrays, Content, Format, named


def _is_displacement(content: Content) -> bool:
    values = content.array(BARE)
    return values.dtype.kind == "f" and bool(np.abs(values).max() < 0.1)  # metres


def _uv_mask(content: Content) -> Arrays:
    return {"mask": (_first_channel(content) / 255.0).astype(np.float32)}


def _is_mask(content: Content) -> bool:
    channel = _first_channel(content)
    height, width = channel.shape
    return height == width and bool(np.isin(channel, (0, 255)).mean() > 0.95)


def _first_channel(content: Content) -> np.ndarray:
    picture = content.array(BARE)
    return picture if picture.ndim == 2 else picture[..., 0]


DECA_FIXED_DISPLACEMENT = Format(
    "deca_fixed_displacement",
    entries={BARE: "S S"},
    convert=named("displacement"),
    containers=("npy",),
    matches=_is_displacement,
)
DECA_DENSE_TEMPLATE = Format(
    "deca_dense_template",
    entries={
        **{"img_size": "...", "f": "_ 3", "x_coords": "_", "y_coords": "_"},
        **{"valid_pixel_ids": "P", "valid_pixel_3d_faces": "P 3", "valid_pixel_b_coords": "P 3"},
    },
)
DECA_UV_MASK = Format(
    "deca_uv_mask",
    entries={BARE: "..."},
    assets=("deca_uv_face_eye_mask", "deca_uv_face_mask"),
    convert=_uv_mask,
    containers=("picture",),
    matches=_is_mask,
    hints={"uv_face_eye": "deca_uv_face_eye_mask", "uv_face_mask": "deca_uv_face_mask"},
)
DECA_MEAN_TEXTURE = Format(
    "deca_mean_texture",
    entries={BARE: "S S 3"},
    containers=("picture",),
    matches=lambda content: not _is_mask(content),
    convert=lambda content: {"texture": (content.array(BARE) / 255.0).astype(np.float32)},
)
FORMATS = (DECA_FIXED_DISPLACEMENT, DECA_DENSE_TEMPLATE, DECA_UV_MASK, DECA_MEAN_TEXTURE)
