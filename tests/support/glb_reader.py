"""The least of a glTF reader, straight from the specification, with the rules of its validator that concern a face."""

import json
import struct

import numpy as np

COMPONENTS = {5126: "<f4", 5125: "<u4", 5123: "<u2"}
COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


class GlbReader:
    """A GLB file in memory; what it reads is checked against the specification."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.json = json.loads(data[20 : 20 + size])
        binary_size, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0" and binary_size % 4 == 0
        self.binary = data[28 + size :]
        assert len(self.binary) == binary_size == self.json["buffers"][0]["byteLength"]

    @property
    def mesh(self) -> dict:
        (mesh,) = self.json["meshes"]
        return mesh

    @property
    def primitive(self) -> dict:
        (primitive,) = self.mesh["primitives"]
        return primitive

    def view(self, index: int, dtype: str, columns: int) -> np.ndarray:
        view = self.json["bufferViews"][index]
        assert view["byteOffset"] % 4 == 0
        raw = self.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        return np.frombuffer(raw, dtype).reshape(-1, columns)

    def accessor(self, index: int) -> np.ndarray:
        accessor = self.json["accessors"][index]
        dtype, columns = COMPONENTS[accessor["componentType"]], COLUMNS[accessor["type"]]
        if "bufferView" in accessor:
            values = self.view(accessor["bufferView"], dtype, columns)
        else:
            values = np.zeros((accessor["count"], columns), dtype)
        if sparse := accessor.get("sparse"):
            values = values.copy()
            indices = sparse["indices"]
            where = self.view(indices["bufferView"], COMPONENTS[indices["componentType"]], 1)[:, 0]
            assert sparse["count"] > 0 and (np.diff(where.astype(int)) > 0).all() and len(where) == sparse["count"]
            assert "target" not in self.json["bufferViews"][sparse["indices"]["bufferView"]]
            values[where] = self.view(sparse["values"]["bufferView"], dtype, columns)
        assert len(values) == accessor["count"]
        assert np.isfinite(values).all()
        if "min" in accessor:
            np.testing.assert_array_equal(values.min(axis=0), np.array(accessor["min"], "f4"))
            np.testing.assert_array_equal(values.max(axis=0), np.array(accessor["max"], "f4"))
        return values

    def attribute(self, name: str) -> np.ndarray:
        """An attribute of the mesh at rest."""
        return self.accessor(self.primitive["attributes"][name])

    def targets(self, name: str = "POSITION") -> dict[str, np.ndarray]:
        """What each morph target adds to an attribute."""
        names = self.mesh["extras"]["targetNames"]
        assert len(names) == len(self.primitive["targets"]) == len(self.mesh["weights"])
        count = len(self.attribute("POSITION"))
        for target in self.primitive["targets"]:  # the rules of the specification, chapter 3.7.2.2
            assert (
                target.keys() <= {"POSITION", "NORMAL", "TANGENT"}
                and target.keys() <= self.primitive["attributes"].keys()
            )
            position = self.json["accessors"][target["POSITION"]]
            assert position["type"] == "VEC3" and {"min", "max"} <= position.keys()
            assert all(self.json["accessors"][index]["count"] == count for index in target.values())
        return {n: self.accessor(t[name]) for n, t in zip(names, self.primitive["targets"], strict=True)}

    def shown(self, name: str = "POSITION", weights: dict[str, float] | None = None) -> np.ndarray:
        """An attribute as viewers show it: at rest, plus the targets by weight."""
        targets = self.targets(name)
        chosen = dict(zip(targets, self.mesh["weights"], strict=True)) if weights is None else weights
        return self.attribute(name) + sum(chosen[key] * target.astype(float) for key, target in targets.items())
