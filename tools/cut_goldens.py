"""Cut the golden outputs of the published networks to what the repository ships: tools/cut_goldens.py PARITY SPEC_KEYS.

Inputs that are random numbers are left out (tests/support/published.py draws them again), bases keep as many columns as
there are faces, pictures every fourth pixel, maps every second. What the published code computed is never recomputed.
"""

import argparse
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy import ndarray

OUT = Path(__file__).parents[1] / "tests" / "goldens"
WHOLE = ("align", "deep3dface_bfm")
NETWORKS = (
    *("3ddfa_mb05", "3ddfa_mb1", "3ddfa_resnet22", "deca_E_flame", "deca_E_detail", "deca_D_detail"),
    *("deep3dface_resnet18", "deep3dface_resnet50", "deep3dface_resnet50_lastfc", "emonet_5", "emonet_8"),
    *("expnet", "mgcnet", "smirk"),
)
DRAWN = ("input", "input_nhwc")
NAMES = ("var_names", "var_shapes", "block_shapes")  # the lists of keys say the same
EVERY = {"f64.out": 4, "image": 4, "albedo_image": 4, "shading": 4, "normal_image": 4, "shape_image": 4}
EVERY |= dict.fromkeys(("uv_vertices", "uv_normals", "detail_normals", "detail_normals_blended", "detail_shading"), 2)


def cut_network(name: str, arrays: dict[str, ndarray]) -> dict[str, ndarray]:
    """The outputs, and inputs that were not drawn."""
    drawn = () if name == "deca_D_detail" else DRAWN
    return {key: _thinned(key, array) for key, array in arrays.items() if key not in (*drawn, *NAMES)}


def cut_decode(arrays: dict[str, ndarray]) -> dict[str, ndarray]:
    """DECA's decode of three faces: three columns of each basis, with which the codes give the same displacements."""
    from scipy.spatial.transform import Rotation

    kept = {key: _thinned(key, array) for key, array in arrays.items()}
    basis = arrays["asset.shapedirs"].astype(np.float64)
    small = np.zeros_like(basis)
    for code, first in (("shape", 0), ("expression", 300)):
        small[..., first:] += _with_few_columns(basis[..., first:], arrays[code].astype(np.float64))
    kept["asset.shapedirs"] = small.astype(np.float32)
    turned = np.zeros((3, 4, 3, 3))  # neck, jaw, eyes; only the jaw moves here
    turned[:, 1] = Rotation.from_rotvec(arrays["pose"][:, 3:].astype(np.float64)).as_matrix() - np.eye(3)
    posed = _with_few_columns(arrays["asset.posedirs"].astype(np.float64), turned.reshape(3, 36))
    kept["asset.posedirs"] = posed.astype(np.float32)
    return kept


def _with_few_columns(basis: ndarray, codes: ndarray) -> ndarray:
    """A basis [V, 3, N] of zeros but for one column a code, that gives the codes [B, n] the displacements they had."""
    wanted = basis[..., : codes.shape[1]] @ codes.T  # [V, 3, B]
    chosen: list[int] = []
    for _ in codes:  # greedily, the column that leaves the system best to solve
        left = [column for column in range(codes.shape[1]) if column not in chosen]
        chosen.append(max(left, key=lambda column: np.linalg.svd(codes[:, [*chosen, column]], compute_uv=False)[-1]))
    small = np.zeros_like(basis)
    small[..., chosen] = wanted @ np.linalg.inv(codes[:, chosen].T)
    assert np.allclose(small[..., : codes.shape[1]] @ codes.T, wanted, atol=1e-12)
    return small


def _thinned(key: str, array: ndarray) -> ndarray:
    step = EVERY.get(key, 1)
    return array[..., ::step, ::step] if array.ndim == 4 else array


def main(parity: Path, keys: Path) -> None:
    """Write ``tests/goldens`` anew."""
    OUT.mkdir(exist_ok=True)
    cuts: dict[str, Callable[[dict[str, ndarray]], dict[str, ndarray]]] = {"deca_decode": cut_decode}
    cuts |= {name: (lambda arrays, name=name: cut_network(name, arrays)) for name in NETWORKS}  # type: ignore[misc]
    cuts |= {name: (lambda arrays: arrays) for name in WHOLE}
    for name, cut in cuts.items():
        with np.load(parity / f"{name}.npz") as file:
            np.savez_compressed(OUT / f"{name}.npz", **cut({key: file[key] for key in file.files}))
    with zipfile.ZipFile(OUT / "keys.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (n for n in NETWORKS if (keys / f"{n}.txt").exists()):
            archive.writestr(zipfile.ZipInfo(f"{name}.txt"), (keys / f"{name}.txt").read_bytes(), zipfile.ZIP_DEFLATED)
    shutil.copytree(parity / "tf_ckpt_tiny", OUT / "tf_ckpt_tiny", dirs_exist_ok=True, copy_function=shutil.copyfile)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parity", type=Path)
    parser.add_argument("keys", type=Path)
    main(**vars(parser.parse_args()))
