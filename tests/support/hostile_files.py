"""Files that crash, hang or fill the memory of a reader that believes them. Run as a script, it reads them all.

    python hostile_files.py FOLDER ENTRANCE [FIRST]

prints lines of JSON for each file: its name and "died", and if it did not: outcome, growth of memory, time.
"""

import copyreg
import importlib
import io
import json
import os
import pickle
import resource
import socket
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

Writer = Callable[[Path], object]


class Call:
    """Pickles as a call, with a state."""

    def __init__(self, function: object, arguments: tuple[object, ...], *state: object) -> None:
        self.parts = function, arguments, *state

    def __reduce__(self) -> tuple[object, ...]:
        return self.parts


def flame(**changes: object) -> dict[str, object]:
    """A model in FLAME's format with 12 vertices."""
    return {
        **{"v_template": np.zeros((12, 3)), "shapedirs": np.zeros((12, 3, 4)), "posedirs": np.zeros((12, 3, 36))},
        **{"J_regressor": np.ones((5, 12)) / 12, "kintree_table": np.zeros((2, 5), np.int64)},
        **{"weights": np.ones((12, 5)) / 5, "f": np.zeros((4, 3), np.int64), **changes},
    }


def sparse(indices: object, indptr: object, shape: object = (5, 12), count: int = 4) -> object:
    import scipy.sparse

    return _object(
        scipy.sparse.csc_matrix, {"_shape": shape, "data": np.ones(count), "indices": indices, "indptr": indptr}
    )


def coordinates(rows: object, columns: object, shape: object = (5, 12)) -> object:
    import scipy.sparse

    return _object(scipy.sparse.coo_matrix, {"_shape": shape, "data": np.ones(2), "row": rows, "col": columns})


def _object(kind: type, state: object) -> Call:
    """An instance of a class with any state."""
    return Call(copyreg._reconstructor, (kind, object, None), state)


def forged_array(shape: object, dtype: object, raw: object) -> Call:
    function, arguments, _ = np.zeros(1).__reduce__()
    return Call(function, arguments, (1, shape, dtype, False, raw))


def forged_type(name: str, *state: object) -> Call:
    return Call(np.dtype, (name, False, True), state)


def pickled(value: object) -> Writer:
    return lambda path: path.write_bytes(pickle.dumps(value, 2))


def raw(data: bytes) -> Writer:
    return lambda path: path.write_bytes(data)


def npy(shape: str, descr: str = "'<f8'", values: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def big_member(name: str, head: bytes, size: int) -> Writer:
    """An archive with a member of so many zeros, written block by block."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open(name, "w") as member:
            member.write(head)
            for _ in range(size // 2**20):
                member.write(bytes(2**20))

    return write


def torch_zip(size: object, stride: object, offset: int = 0, count: int = 4, stored: int = 16) -> Writer:
    def write(path: Path) -> None:
        import torch

        torch.save({"E_flame": {"layers.2.weight": torch.zeros(4)}}, path)
        with zipfile.ZipFile(path) as file:
            members = {name: file.read(name) for name in file.namelist()}
        (program,) = (name for name in members if name.endswith("data.pkl"))
        members[program] = _tensor_program(size, stride, offset, count)
        (data,) = (name for name in members if name.endswith("data/0"))
        members[data] = bytes(stored)
        path.write_bytes(archive(members, zipfile.ZIP_STORED))

    return write


def torch_legacy(size: object, stride: object, announced: int, count: int = 4) -> Writer:
    def write(path: Path) -> None:
        parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        data = b"".join(pickle.dumps(part, 2) for part in parts)
        data += _tensor_program(size, stride, 0, count, None) + pickle.dumps(["0"], 2)
        path.write_bytes(data + struct.pack("<q", announced) + bytes(16))

    return write


def _tensor_program(size: object, stride: object, offset: int, count: int, *view: None) -> bytes:
    """A pickle of ``{"E_flame": {"layers.2.weight": tensor}}`` with any numbers in the tensor."""

    class Numbers(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            import torch

            return ("storage", torch.FloatStorage, "0", "cpu", count, *view) if value == "the storage" else None

    import torch

    tensor = Call(torch._utils._rebuild_tensor_v2, ("the storage", offset, size, stride, False, {}))
    buffer = io.BytesIO()
    Numbers(buffer, 2).dump({"E_flame": {"layers.2.weight": tensor}})
    return buffer.getvalue()


def mat(element: bytes, kind: int = 14) -> bytes:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    return head + struct.pack("<II", kind, len(element)) + element


def matrix(kind: int, sizes: tuple[int, ...], name: bytes = b"u", rest: bytes = b"") -> bytes:
    """The inside of a matrix element."""
    flags = struct.pack("<IIII", 6, 8, kind, 0)
    dims = struct.pack(f"<II{len(sizes)}i", 5, 4 * len(sizes), *sizes)
    return flags + dims + bytes(-len(dims) % 8) + struct.pack("<HH", 1, len(name)) + name.ljust(4, b"\0") + rest


def struct_of(field: bytes) -> bytes:
    """A struct with one field."""
    names = struct.pack("<HHI", 5, 4, 2) + struct.pack("<HH", 1, 2) + b"a\0\0\0"
    return matrix(2, (1, 1), rest=names + struct.pack("<II", 14, len(field)) + field)


def nested_cells(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        body = matrix(1, (1, 1), rest=struct.pack("<II", 14, len(inner)) + inner)
        inner = body
    return inner


def compressed_zeros(size: int) -> bytes:
    packer, parts = zlib.compressobj(9), []
    body = matrix(6, (size // 8, 1), rest=struct.pack("<II", 9, size))
    parts.append(packer.compress(struct.pack("<II", 14, len(body) + size) + body))
    parts += [packer.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return b"".join(parts) + packer.flush()


def hdf5(fill: Callable[[object], object]) -> Writer:
    def write(path: Path) -> None:
        import h5py

        with h5py.File(path, "w") as file:
            fill(file)

    return write


def deep_groups(file: object) -> None:
    group = file
    for _ in range(3000):
        group = group.create_group("g")
    group["kernel"] = np.zeros(3)


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def tf_index(entries: dict[bytes, bytes]) -> Writer:
    def write(path: Path) -> None:
        from published import write_table

        path.write_bytes(write_table({b"": b"\x08\x01", **entries}))

    return write


def named_pipe(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def shared_lists(depth: int) -> object:
    value: object = [1.0] * 10
    for _ in range(depth):
        value = [value] * 10
    return value


def deep_tuple_key() -> bytes:
    return b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s."


INT = np.dtype("i4")
FIELDS = forged_type("V8", 3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 27)
WIDE = b"\x08\x01\x12\x0e" + b"\x12\x05\x08\x80\x80\x80\x20" * 2 + b"(\x00"
DEFAULTS = b"}X\x0c\x00\x00\x00__defaults__NsX\x01\x00\x00\x00x\x86b."
POINTERS = np.arange(13).clip(0, 4)
FILES: dict[str, Writer] = {
    # sparse matrices
    "sparse_index_far.pkl": pickled(flame(J_regressor=sparse(np.full(4, 9**8, INT), POINTERS))),
    "sparse_index_negative.pkl": pickled(flame(J_regressor=sparse(np.full(4, -(9**7), INT), POINTERS))),
    "sparse_pointers_wild.pkl": pickled(
        flame(J_regressor=sparse(np.zeros(4, INT), np.array([0, 9**8, *[0] * 10, 4], INT)))
    ),
    "sparse_huge.pkl": pickled(flame(J_regressor=sparse(np.zeros(4, INT), np.zeros(2, INT), (10**9, 1)))),
    "coordinates_far.pkl": pickled(flame(J_regressor=coordinates(np.array([0, 9**8], INT), np.array([0, 1], INT)))),
    "sparse_size_negative.pkl": pickled(flame(J_regressor=sparse(np.zeros(4, INT), np.zeros(13, INT), (-5, 12)))),
    # types and arrays
    "type_object_flags.pkl": pickled(
        {"v_template": forged_array((4,), forged_type("f8", 3, "|", None, None, None, -1, -1, 63), b"A" * 32)}
    ),
    "type_fields.pkl": pickled(
        {
            "u": forged_array(
                (1,), forged_type("V8", 3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 27), b"A" * 8
            )
        }
    ),
    "type_size.pkl": pickled(
        {"u": forged_array((4,), forged_type("f8", 3, "<", None, None, None, 2**30, 2**30, 0), b"A" * 32)}
    ),
    "type_is_no_type.pkl": pickled({"u": forged_array((4,), "f8", b"A" * 32)}),
    "objects_from_bytes.pkl": pickled({"u": forged_array((4,), np.dtype("O"), b"A" * 32)}),
    "array_too_short.pkl": pickled({"u": forged_array((10**9,), np.dtype("f8"), b"A" * 8)}),
    "array_negative.pkl": pickled({"u": forged_array((-4, -1), np.dtype("f8"), b"A" * 32)}),
    "array_made_directly.pkl": pickled({"u": Call(np.ndarray, ((10**10,), np.dtype("f8")))}),
    "array_of_10_GB.pkl": pickled({"u": Call(np.ndarray, ((10**10,), "b"))}),
    # pickles
    "list_bomb.pkl": raw(b"\x80\x02]" + b"]" * 1_500_000 + b"."),
    "nested_lists.pkl": raw(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "shared_lists.pkl": pickled({"u": shared_lists(10)}),
    "deep_tuple_key.pkl": raw(deep_tuple_key()),
    "memo_far.pkl": raw(b"\x80\x02]r\xff\xff\xff\xff."),
    "bytes_announced.pkl": raw(b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x."),
    "bytearray_announced.pkl": raw(b"\x80\x05\x96" + struct.pack("<Q", 2**36) + b"x."),
    "changes_a_builder.pkl": raw(
        b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__NsX\x01\x00\x00\x00x\x86b."
    ),
    # NumPy's files
    "npy_shape.npy": raw(npy("(1000000000, 1000)", values=bytes(64))),
    "npy_negative.npy": raw(npy("(-1, 8)", values=bytes(64))),
    "npy_header.npy": raw(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{"),
    "npy_nothing_wide.npy": raw(npy("(1000000000000,)", "'|S0'")),
    "npz_shape.npz": raw(archive({"mean.npy": npy("(100000, 100000)", values=bytes(64)), "tex_dir.npy": npy("(0,)")})),
    "npz_bomb.npz": big_member("mean.npy", npy("(12582912,)"), 96 * 2**20),
    "npz_many.npz": raw(archive({f"{n}.npy": b"" for n in range(101_000)}, zipfile.ZIP_STORED)),
    "wheel_bomb.whl": big_member("a/emotion.hdf5", b"\x89HDF\r\n\x1a\n", 96 * 2**20),
    # PyTorch's files
    "torch_beyond.pth": torch_zip((10**9,), (1,)),
    "torch_offset.pth": torch_zip((1,), (1,), offset=10**12),
    "torch_stride_0.pth": torch_zip((10**6, 10**6), (0, 0)),
    "torch_negative.pth": torch_zip((-1,), (1,)),
    "torch_count.pth": torch_zip((4,), (1,), count=10**12),
    "torch_old_beyond.pth": torch_legacy((10**9,), (1,), 4),
    "torch_old_announced.pth": torch_legacy((4,), (1,), 10**12, count=10**12),
    "torch_program_bomb.pth": big_member("a/data.pkl", b"\x80\x02", 96 * 2**20),
    # others
    "safetensors_header.safetensors": raw(struct.pack("<Q", 90_000_000) + b'{"' + bytes(2**20)),
    "safetensors_header_far.safetensors": raw(struct.pack("<Q", 2**39) + b'{"a":1}'),
    "mat_nested.mat": raw(mat(struct_of(nested_cells(20_000)))),
    "mat_cells.mat": raw(mat(struct_of(matrix(1, (30_000, 30_000))))),
    "mat_text.mat": raw(mat(struct_of(matrix(4, (100_000, 100_000), rest=struct.pack("<II", 16, 0))))),
    "mat_struct.mat": raw(
        mat(matrix(2, (30_000, 30_000), rest=struct.pack("<HHI", 5, 4, 2) + struct.pack("<HH", 1, 2) + b"a\0\0\0"))
    ),
    "mat_zeros.mat": raw(mat(compressed_zeros(96 * 2**20), 15)),
    "hdf5_space.h5": hdf5(
        lambda f: f.create_dataset("model_weights/a/kernel", (10**6, 10**5), "f4", chunks=(10, 10), fillvalue=1)
    ),
    "hdf5_elsewhere.h5": hdf5(
        lambda f: f.create_dataset("model_weights/a/kernel", (10,), "u1", external=[("/dev/zero", 0, 10)])
    ),
    "hdf5_deep.h5": hdf5(deep_groups),
    "picture_wide.png": raw(png(60_000, 60_000)),
    "picture_large.png": raw(png(11_000, 11_000)),
    "index_shape.index": tf_index({b"u": WIDE}),
    "index_long_names.index": tf_index({b"n" * 2**20: b"\x08\x01"}),
    "obj_long_number.obj": raw(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 " + b"3" * 5000 + b"\n"),
    # no files
    "pipe.pkl": named_pipe,
    "socket.npz": bound_socket,
    "zero.mat": lambda path: path.symlink_to("/dev/zero"),
    "random.pth": lambda path: path.symlink_to("/dev/urandom"),
}


def write_all(folder: Path) -> None:
    """Every file, under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in FILES.items():
        write(folder / name)


def outcome_of(read: Callable[[Path], object], path: Path) -> str:
    """How a reader took a file: ``refused: ...`` or the name of what it raised, or ``read``."""
    from emoca_core.errors import EmocaError

    try:
        read(path)
        return "read"
    except EmocaError as error:
        return f"refused: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def look(path: Path) -> None:
    """As a component opens a file that its user named."""
    from emoca_core.errors import AssetFormatError
    from emoca_core.formats import open_content

    content = open_content(path)
    if not [content.array(name) for name in content.shapes]:
        raise AssetFormatError("nothing in it")


def add(path: Path) -> None:
    """As ``emoca assets add`` does."""
    from emoca_core.errors import AssetFormatError
    from emoca_core.formats.add import add_files

    for added in add_files([path], folder=path.parent / "assets"):
        if added.problem:
            raise AssetFormatError(added.problem)


def weights(path: Path) -> None:
    """As a network reads the file that ``weights`` names."""
    from emoca_core.weights.checkpoints import read_checkpoint

    tensors = read_checkpoint(path)
    for name in tensors:
        tensors[name].isfinite().all()


ENTRANCES = {"look": look, "add": add, "weights": weights}


def main(folder: str, entrance: str, first: str = "") -> None:
    """Read all files from ``first`` on."""
    names = list(FILES)
    for module in ("torch", "scipy.io", "scipy.sparse", "h5py", "PIL.Image", "emoca_core.weights.checkpoints"):
        importlib.import_module(module)  # what readers import counts for no file
    outcome_of(ENTRANCES[entrance], Path(folder) / "warm_up.txt")
    for name in names[names.index(first) if first else 0 :]:
        print(json.dumps({"name": name, "outcome": "died"}), flush=True)
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        outcome = outcome_of(ENTRANCES[entrance], Path(folder) / name)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        line = {"name": name, "outcome": outcome[:300], "mib": grown / 2**10, "seconds": time.perf_counter() - start}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
