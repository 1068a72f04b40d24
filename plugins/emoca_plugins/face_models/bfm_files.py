"""The Basel Face Model as Deep3DFace, 3DDFA-V2 and ExpNet publish it, and Deep3DFace's from its original parts."""

from collections.abc import Mapping

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.formats import BARE, Arrays, Bundle, Content, Format, Surface

_MESH = Surface("mean_shape", "faces", moved_by=("shape_basis", "expression_basis"))
DECIMETRE = 1e5
"""Basel's unit is the micrometre; Deep3DFace's is the decimetre."""
_IDENTITY, _EXPRESSION = 80, 64


def _front(content: Content) -> Arrays:
    arrays = {name: content.array(name) for name in _FRONT_ENTRIES}
    arrays |= {name: content.array(name) for name in _FRONT_OPTIONAL if name in content.shapes}
    return _front_arrays(arrays)


def _front_arrays(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """One-based indices of MATLAB become zero-based; the mean shape is centred, as Deep3DFace does when it loads it."""
    mean = arrays["meanshape"].astype(np.float64).reshape(-1, 3)
    result = {
        "mean_shape": mean - mean.mean(axis=0),
        "shape_basis": arrays["idBase"].astype(np.float64),
        "expression_basis": arrays["exBase"].astype(np.float64),
        "mean_albedo": arrays["meantex"].astype(np.float64).reshape(-1, 3),
        "albedo_basis": arrays["texBase"].astype(np.float64),
        "faces": arrays["tri"].astype(np.int64) - 1,
        "landmark_vertices": arrays["keypoints"].astype(np.int64).ravel() - 1,
    }
    if "skinmask" in arrays:
        result["skin_mask"] = arrays["skinmask"].ravel() > 0
    if "frontmask2_idx" in arrays:
        mask = np.zeros(len(mean), bool)
        mask[arrays["frontmask2_idx"].astype(np.int64).ravel() - 1] = True
        result["front_mask"] = mask
    return result


_FRONT_INFO = {"tri": "_ 3", "point_buf": "_ _", "keypoints": "1 68"}
_FRONT_ENTRIES = {
    "meanshape": "1 N",
    "idBase": "N _",
    "exBase": "N _",
    "meantex": "1 N",
    "texBase": "N _",
    **_FRONT_INFO,
}
_FRONT_OPTIONAL = ("skinmask", "frontmask2_idx")


def build_front(parts: Mapping[str, Content]) -> Arrays:
    """Deep3DFace's model from the Basel Face Model 2009, the expression basis and the index files.

    Bases are principal components times their standard deviations, in decimetres, on the frontal 35,709 vertices.

    Source: Deep3DFaceRecon, transfer of BFM09; layout in Guo et al. (TPAMI 2018) for the expression files.

    Raises:
        AssetFormatError: Sizes that do not fit together.
    """
    basel, info = parts["bfm09_basel"], parts["bfm09_front_info"]
    expression = _read_expression_basis(parts["bfm09_expression_basis"]) * _deviations(parts["bfm09_expression_sigma"])
    on_expression = parts["bfm09_front_index"].array("idx").astype(np.int64).ravel() - 1
    trimmed = parts["bfm09_expression_index"].array("trimIndex").astype(np.int64).ravel() - 1
    if len(trimmed) * 3 != len(expression):
        raise AssetFormatError(
            f"{parts['bfm09_expression_index'].path}: {len(trimmed)} vertices, but the expression basis has "
            f"{len(expression) // 3}"
        )
    on_basel = trimmed[on_expression]

    def basis(components: str, deviations: str) -> np.ndarray:
        sigma = basel.array(deviations, np.float64).reshape(1, -1)
        return np.asarray(basel.array(components, np.float64) * sigma)

    return _front_arrays(
        {
            **{name: info.array(name) for name in info.shapes},
            "meanshape": _rows(basel.array("shapeMU", np.float64).reshape(-1, 1), on_basel) / DECIMETRE,
            "idBase": _rows(basis("shapePC", "shapeEV")[:, :_IDENTITY], on_basel) / DECIMETRE,
            "exBase": _rows(expression[:, :_EXPRESSION], on_expression) / DECIMETRE,
            "meantex": _rows(basel.array("texMU", np.float64).reshape(-1, 1), on_basel),
            "texBase": _rows(basis("texPC", "texEV")[:, :_IDENTITY], on_basel),
        }
    )


def _rows(coordinates: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """The x, y, z rows of some vertices."""
    picked: np.ndarray = coordinates.reshape(-1, 3, coordinates.shape[1])[vertices]
    return picked.reshape(-1, coordinates.shape[1])


def _read_expression_basis(content: Content) -> np.ndarray:
    """``Exp_Pca.bin``: int32 n, mean [3V] (unused), n components of [3V], float32, little-endian."""
    count, values = _expression_file(content)
    return np.asarray(values.reshape(count + 1, -1)[1:].T, np.float64)


def _expression_file(content: Content) -> tuple[int, np.ndarray]:
    raw = content.path.read_bytes()
    return int(np.frombuffer(raw, "<i4", 1)[0]), np.frombuffer(raw, "<f4", offset=4)


def _is_expression_basis(content: Content) -> bool:
    size = content.path.stat().st_size
    if size < 1_000 or size % 4:
        return False
    with open(content.path, "rb") as file:
        count = int.from_bytes(file.read(4), "little", signed=True)
    return 1 <= count <= 200 and (size // 4 - 1) % (3 * (count + 1)) == 0


def _deviations(content: Content) -> np.ndarray:
    return np.array(content.path.read_text(encoding="utf-8").split(), np.float64)


def _is_deviations(content: Content) -> bool:
    if content.path.stat().st_size > 10_000:
        return False
    try:
        values = _deviations(content)
    except ValueError:  # words, or not text
        return False
    return 20 <= values.size <= 200 and bool((values > 0).all())


def _noneck(content: Content) -> Arrays:
    keypoints = content.array("keypoints").astype(np.int64).ravel()
    arrays = {
        "mean_shape": content.array("u", np.float64).reshape(-1, 3),
        "shape_basis": content.array("w_shp", np.float64),
        "expression_basis": content.array("w_exp", np.float64),
        "landmark_vertices": keypoints[::3] // 3,  # published as indices of coordinates
    }
    if "tri" in content.shapes:
        arrays |= {"faces": _triangles_of(content.array("tri"))}
    return arrays


def _triangles_of(triangles: np.ndarray) -> np.ndarray:
    """[F, 3] zero-based, from [3, F] or [F, 3]."""
    columns = triangles if triangles.shape[1] == 3 else triangles.T
    return np.ascontiguousarray(columns).astype(np.int64)


def _is_triangles(content: Content) -> bool:
    values = content.array(BARE)
    return values.dtype.kind in "iu" and values.shape[0] == 3


def _expnet(content: Content) -> Arrays:
    def part(name: str) -> np.ndarray:
        return content.array(f"BFM.{name}", np.float64)

    return {
        "mean_shape": (part("shapeMU").ravel() + part("expMU").ravel()).reshape(-1, 3),
        "shape_basis": part("shapePC") * part("shapeEV").reshape(1, -1),
        "expression_basis": part("expPC") * part("expEV").reshape(1, -1),
        "mean_albedo": part("texMU").reshape(-1, 3),
        "albedo_basis": part("texPC") * part("texEV").reshape(1, -1),
        "faces": content.array("BFM.faces").astype(np.int64) - 1,
    }


FRONT_BUNDLE = Bundle(
    asset="bfm09",
    format="bfm09_front",
    parts={
        "bfm09_basel": "01_MorphableModel.mat",
        "bfm09_front_info": "facemodel_info.mat",
        "bfm09_front_index": "BFM_front_idx.mat",
        "bfm09_expression_index": "BFM_exp_idx.mat",
        "bfm09_expression_basis": "Exp_Pca.bin",
        "bfm09_expression_sigma": "std_exp.txt",
    },
    build=build_front,
)
BFM09_EXPRESSION_INDEX = Format(
    "bfm09_expression_index",
    entries={"trimIndex": "_ 1"},
    assets=("bfm_expression_index",),  # by itself as well: it leads from 3DDFA-V2's landmarks to ExpNet's model
    convert=lambda content: {"vertices": content.array("trimIndex").astype(np.int64).ravel() - 1},
    containers=("mat",),
    part_of=FRONT_BUNDLE,
)
_FRONT_PARTS = (
    Format(
        "bfm09_basel",
        entries={"shapeMU": "N 1", "shapePC": "N S", "shapeEV": "S 1", "texMU": "N 1", "texPC": "N T", "texEV": "T 1"},
        containers=("mat",),
        part_of=FRONT_BUNDLE,
    ),
    Format(
        "bfm09_front_info",
        entries=_FRONT_INFO,
        containers=("mat",),
        matches=lambda content: "meanshape" not in content.shapes,
        part_of=FRONT_BUNDLE,
    ),
    Format("bfm09_front_index", entries={"idx": "_ 1"}, containers=("mat",), part_of=FRONT_BUNDLE),
    BFM09_EXPRESSION_INDEX,
    Format("bfm09_expression_basis", containers=("other",), matches=_is_expression_basis, part_of=FRONT_BUNDLE),
    Format("bfm09_expression_sigma", containers=("other",), matches=_is_deviations, part_of=FRONT_BUNDLE),
)

BFM09_FRONT = Format(
    "bfm09_front",
    entries=_FRONT_ENTRIES,
    assets=("bfm09",),
    convert=_front,
    containers=("mat",),
    indices={"faces": "mean_shape", "landmark_vertices": "mean_shape"},
    surfaces=(_MESH,),
)
BFM_NONECK = Format(
    "bfm_noneck",
    entries={"u": "N 1", "w_shp": "N _", "w_exp": "N _", "keypoints": "..."},
    assets=("bfm_3ddfa",),
    convert=_noneck,
    indices={"faces": "mean_shape", "landmark_vertices": "mean_shape"},
    surfaces=(_MESH,),
)
BFM_3DDFA_TRIANGLES = Format(
    "bfm_3ddfa_triangles",
    entries={BARE: "3 _"},
    convert=lambda content: {"faces": _triangles_of(content.array(BARE))},
    containers=("pickle", "npy"),
    matches=_is_triangles,
)
TDDFA_STATISTICS = Format("tddfa_statistics", entries={"mean": "D", "std": "D"})
BFM_EXPNET = Format(
    "bfm_expnet",
    entries={
        **{f"BFM.{name}": "N" for name in ("shapeMU", "texMU", "expMU")},
        **{"BFM.shapePC": "N S", "BFM.shapeEV": "S", "BFM.texPC": "N T", "BFM.texEV": "T"},
        **{"BFM.expPC": "N E", "BFM.expEV": "E", "BFM.faces": "_ 3"},
    },
    convert=_expnet,
    indices={"faces": "mean_shape"},
    surfaces=(_MESH,),
)
FORMATS = (BFM09_FRONT, *_FRONT_PARTS, BFM_NONECK, BFM_3DDFA_TRIANGLES, TDDFA_STATISTICS, BFM_EXPNET)
