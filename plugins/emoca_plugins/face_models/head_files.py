"""Open head models: ICT FaceKit from the OBJ files of its repository, Google's GNM head."""

from pathlib import Path

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.formats import Arrays, Content, Format, Surface
from emoca_core.progress import progress_bar
from emoca_core.weights.read_obj import read_obj, read_obj_vertices

NEUTRAL = "generic_neutral_mesh.obj"
ICT_EXPRESSIONS = (
    *(f"brow{part}_{side}" for part in ("Down", "InnerUp", "OuterUp") for side in "LR"),
    *(f"cheek{part}_{side}" for part in ("Puff", "Squint") for side in "LR"),
    *(f"eye{part}_{side}" for part in ("Blink", "LookDown", "LookIn", "LookOut", "LookUp") for side in "LR"),
    *(f"eye{part}_{side}" for part in ("Squint", "Wide") for side in "LR"),
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose"),
    *(f"mouthDimple_{side}" for side in "LR"),
    *(f"mouthFrown_{side}" for side in "LR"),
    *("mouthFunnel", "mouthLeft"),
    *(f"mouthLowerDown_{side}" for side in "LR"),
    *(f"mouthPress_{side}" for side in "LR"),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(f"mouthSmile_{side}" for side in "LR"),
    *(f"mouthStretch_{side}" for side in "LR"),
    *(f"mouthUpperUp_{side}" for side in "LR"),
    *(f"noseSneer_{side}" for side in "LR"),
)
"""The 53 expressions of the light model, alphabetically; the folder may hold further shapes."""
_CENTIMETRE = 0.01


def ict_folder(path: Path) -> Path | None:
    """The folder of the meshes, given it or the clone that contains it; ``None`` if it is neither."""
    return next((folder for folder in (path, path / "FaceXModel") if (folder / NEUTRAL).is_file()), None)


def _ict(content: Content) -> Arrays:
    """Offsets from the neutral mesh, in metres.

    Source: the model's README: identity and expression meshes are morph targets of the neutral one, in centimetres.
    """
    folder = ict_folder(content.path)
    assert folder is not None  # the format matched
    neutral = read_obj(folder / NEUTRAL)
    identities = sorted(folder.glob("identity[0-9][0-9][0-9].obj"))
    expressions = [folder / f"{name}.obj" for name in ICT_EXPRESSIONS]
    missing = [path.name for path in expressions if not path.is_file()]
    if missing or not identities:
        raise AssetFormatError(f"{folder} lacks {', '.join(missing) or 'identity000.obj'} and cannot be converted")
    return {
        "mean_shape": neutral.vertices * _CENTIMETRE,
        "shape_basis": _offsets(identities, neutral.vertices),
        "expression_basis": _offsets(expressions, neutral.vertices),
        "faces": neutral.faces,
        "uv": neutral.uv,
        "uv_faces": neutral.uv_faces,
    }


def _offsets(paths: list[Path], neutral: np.ndarray) -> np.ndarray:
    """[K, V, 3] in metres."""
    offsets = np.empty((len(paths), *neutral.shape), np.float32)
    for row, path in zip(
        offsets, progress_bar(paths, label=f"reading {paths[0].parent.name}", unit="mesh"), strict=True
    ):
        vertices = read_obj_vertices(path)
        if vertices.shape != neutral.shape:
            raise AssetFormatError(f"{path} has {len(vertices)} vertices, the neutral mesh {len(neutral)}")
        row[:] = (vertices - neutral) * _CENTIMETRE
    return offsets


def _gnm_landmarks(content: Content) -> Arrays:
    rows = _number_table(content)
    return {"vertices": rows[:, 0::2].astype(np.int64), "weights": rows[:, 1::2]}


def _is_gnm_landmarks(content: Content) -> bool:
    if content.path.stat().st_size > 20_000:
        return False
    try:
        rows = _number_table(content)
    except ValueError:  # words, lines of different lengths, or not text
        return False
    weights = rows[:, 1::2] if rows.shape == (68, 6) else np.zeros((1, 3))
    return bool(np.abs(weights.sum(1) - 1).max() < 1e-3)


def _number_table(content: Content) -> np.ndarray:
    """Lines ``i0 w0 i1 w1 i2 w2``: three vertices and their weights."""
    lines = content.path.read_text(encoding="utf-8").splitlines()
    return np.array([line.split() for line in lines if line.strip()], np.float64)


GNM_LANDMARKS = Format(
    "gnm_landmarks",
    convert=_gnm_landmarks,
    containers=("other",),
    matches=_is_gnm_landmarks,
)
ICT_FACEKIT = Format(
    "ict_facekit",
    convert=_ict,
    containers=("folder",),
    matches=lambda content: ict_folder(content.path) is not None,
    indices={"faces": "mean_shape", "uv_faces": "uv"},
    surfaces=(Surface("mean_shape", "faces", moved_by=("shape_basis", "expression_basis")), Surface("uv", "uv_faces")),
    key_file=lambda path: (ict_folder(path) or path) / NEUTRAL,
)
GNM_HEAD = Format(
    "gnm_head",
    entries={
        **{"template_vertex_positions": "V 3", "vertex_identity_basis": "S V 3", "expression_basis": "E V 3"},
        **{"skinning_weights": "J V", "pose_correctives_regressor": "_ _", "template_joint_positions": "J 3"},
        **{"joint_identity_basis": "S J 3", "joint_parent_indices": "J", "triangles": "_ 3"},
    },
    containers=("npz",),
    indices={"triangles": "template_vertex_positions"},
    surfaces=(
        Surface(
            "template_vertex_positions",
            "triangles",
            moved_by=("vertex_identity_basis", "expression_basis", "skinning_weights"),
        ),
    ),
)
FORMATS = (GNM_LANDMARKS, ICT_FACEKIT, GNM_HEAD)
