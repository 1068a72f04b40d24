"""Published files are recognised by what they hold, whatever they are called."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from emoca_core.errors import AssetFormatError
from emoca_core.formats import open_asset, open_content
from emoca_core.formats.convert import convert, recognise, write_converted
from emoca_core.formats.known import known_formats
from emoca_core.registry import get_registry
from emoca_core.weights.read_obj import read_obj
from emoca_plugins.face_models.bfm_files import BFM_NONECK

FORMATS = known_formats(get_registry())
RANDOM = np.random.default_rng(0)


def save_npy(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array)


def save_picture(path: Path, pixels: np.ndarray) -> None:
    with open(path, "wb") as file:
        Image.fromarray(pixels).save(file, "PNG")


def noneck() -> dict[str, np.ndarray]:
    u = np.random.default_rng(0).normal(size=(30, 1))
    return {"u": u, "w_shp": np.ones((30, 40)), "w_exp": np.ones((30, 10)), "keypoints": np.arange(9)}


def emoca_checkpoint(extra: dict[str, torch.Tensor]) -> dict[str, object]:
    tensors = {"E_flame.layers.2.weight": torch.zeros(236, 1024), "E_expression.layers.2.weight": torch.zeros(50, 1024)}
    return {"state_dict": {f"deca.{name}": value for name, value in (tensors | extra).items()}, "epoch": 3}


WRITERS = {
    "deca_fixed_displacement": lambda p: save_npy(p, RANDOM.normal(size=(16, 16)) * 1e-3),
    "expnet_mean": lambda p: save_npy(p, RANDOM.uniform(0, 255, (3, 224, 224)).astype("f4")),
    "deca_uv_mask": lambda p: save_picture(p, np.uint8(RANDOM.random((16, 16, 4)) > 0.5) * 255),
    "deca_mean_texture": lambda p: save_picture(p, RANDOM.integers(0, 255, (16, 16, 3), np.uint8)),
    "deca_dense_template": lambda p: p.write_bytes(
        pickle.dumps(
            {
                "img_size": 256,
                "f": np.zeros((4, 3)),
                "x_coords": np.zeros(9),
                "y_coords": np.zeros(9),
                "valid_pixel_ids": np.zeros(5),
                "valid_pixel_3d_faces": np.zeros((5, 3)),
                "valid_pixel_b_coords": np.zeros((5, 3)),
            }
        )
    ),
    "bfm_noneck": lambda p: p.write_bytes(pickle.dumps(noneck())),
    "bfm_3ddfa_triangles": lambda p: p.write_bytes(pickle.dumps(np.zeros((3, 20), np.int32))),
    "tddfa_statistics": lambda p: p.write_bytes(pickle.dumps({"mean": np.zeros(62), "std": np.ones(62)})),
    "vggface2_resnet50": lambda p: p.write_bytes(
        pickle.dumps(
            {
                "conv1.weight": np.zeros((64, 3, 7, 7)),
                "layer4.0.downsample.0.weight": np.zeros((2048, 1024, 1, 1)),
                "fc.weight": np.zeros((8631, 2048)),
            }
        )
    ),
    "gnm_landmarks": lambda p: p.write_text("\n".join("1 0.5 2 0.25 3 0.25" for _ in range(68))),
    "weights_deca": lambda p: torch.save(
        {"E_flame": {"layers.2.weight": torch.zeros(236, 1024)}, "opt": {"state": {0: {"step": torch.zeros(1)}}}}, p
    ),
    "weights_emoca_v1": lambda p: torch.save(emoca_checkpoint({}), p),
    "weights_emoca_v2": lambda p: torch.save(
        emoca_checkpoint({"flame.lmk_faces_idx_mediapipe": torch.zeros(105, dtype=torch.long)}), p
    ),
    "weights_deep3dface": lambda p: torch.save(
        {"net_recon": {"backbone.conv1.weight": torch.zeros(64, 3, 7, 7)}, "opt_00": {"state": {}}}, p
    ),
    "weights_emonet_5": lambda p: torch.save(
        {"module.emo_fc_2.3.weight": torch.zeros(7, 128), "module.bl0.weight": torch.zeros(256, 256, 1, 1)}, p
    ),
    "weights_smirk": lambda p: torch.save(
        {"smirk_encoder.shape_encoder.shape_layers.0.weight": torch.zeros(300, 960)}, p
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_recognised_by_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / "misleading.txt"
    WRITERS[name](path)
    content = open_content(path)
    recognised = recognise(content, FORMATS)
    assert recognised.name == name
    suffix = ".safetensors" if recognised.containers == ("weights",) else ".npz"
    arrays = convert(content, recognised)
    write_converted(tmp_path / f"converted{suffix}", name, arrays)
    again = open_content(tmp_path / f"converted{suffix}")
    assert set(again.shapes) == set(arrays)
    assert all(np.array_equal(again.array(key), value) for key, value in arrays.items())
    assert all(again.shapes[key] == value.shape for key, value in arrays.items())  # also of scalars
    assert not any(key.startswith("opt") for key in arrays)


def test_format_names_are_unique_per_asset() -> None:
    assets: dict[str, set[tuple[str, ...]]] = {}
    for candidate in FORMATS:
        assets.setdefault(candidate.name, set()).add(candidate.assets)
    assert all(len(owners) == 1 for owners in assets.values())


def test_wrong_shape_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bfm_noneck_v3.pkl"
    path.write_bytes(pickle.dumps(noneck() | {"w_exp": np.zeros((31, 10))}))
    with pytest.raises(AssetFormatError, match=r"looks like bfm_noneck, but w_exp is \[31 10\], expected \[N _\]"):
        recognise(open_content(path), FORMATS)
    with pytest.raises(AssetFormatError, match=r"w_exp is \[31 10\]"):
        open_asset(path, BFM_NONECK)


def test_missing_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bfm_noneck_v3.pkl"
    path.write_bytes(pickle.dumps({k: v for k, v in noneck().items() if k != "w_shp"}))
    with pytest.raises(AssetFormatError, match="it lacks 'w_shp'"):
        open_asset(path, BFM_NONECK)


def test_other_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    write_converted(path, "tddfa_statistics", {"mean": np.zeros(62), "std": np.ones(62)})
    with pytest.raises(AssetFormatError, match="is tddfa_statistics, expected bfm_noneck"):
        open_asset(path, BFM_NONECK)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x80",
        b"\x93NUMPY\x01",
        b"PK\x03\x04broken",
        b"MATLAB 5.0 MAT-file" + bytes(200),
        b"\x89PNG\r\n",
    ],
)
def test_damaged_files_are_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(AssetFormatError, match="file"):
        recognise(open_content(path), FORMATS)


def test_npz_with_pickled_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texture.npz"
    np.savez(path, mean=np.array([{}], dtype=object), tex_dir=np.zeros((3, 3)))
    with pytest.raises(AssetFormatError):
        convert(open_content(path), recognise(open_content(path), FORMATS))


def test_npz_shapes_are_known_without_reading(tmp_path: Path) -> None:
    path = tmp_path / "big.npz"
    np.savez_compressed(path, mean=np.zeros(3), tex_dir=np.zeros((3, 5)))
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {"mean.npy", "tex_dir.npy"}
    assert open_content(path).shapes == {"mean": (3,), "tex_dir": (3, 5)}


def test_mat_structs_become_dotted_names(tmp_path: Path) -> None:
    path = tmp_path / "model.mat"
    scipy.io.savemat(path, {"BFM": {"shapeMU": np.zeros((6, 1)), "faces": np.ones((4, 3))}, "idx": np.ones((5, 1))})
    content = open_content(path)
    assert content.shapes == {"BFM.shapeMU": (6,), "BFM.faces": (4, 3), "idx": (5, 1)}
    assert content.array("BFM.faces").sum() == 12


def test_obj_polygons_and_negative_indices(tmp_path: Path) -> None:
    path = tmp_path / "quad.obj"
    path.write_text(
        "# c\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nf 1/1 2/2 3/3 4/1\nf -4/-3 -3/-2 -2/-1\n"
    )
    mesh = read_obj(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.uv_faces.tolist() == [[0, 1, 2], [0, 2, 0], [0, 1, 2]]


@pytest.mark.parametrize("text", ["v 0 0\nf 1 2 3\n", "v 0 0 0\nf 1 2 3\n", "v a b c\nf 1 1 1\n", "v 0 0 0\nf 1\n"])
def test_broken_obj(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.obj"
    path.write_text(text)
    with pytest.raises(AssetFormatError):
        read_obj(path)
