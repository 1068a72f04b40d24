"""Plays the animation of a GLB file, straight from the specification, with its rules for animations."""

import numpy as np
from glb_reader import GlbReader
from scipy.spatial.transform import Rotation, Slerp


class GlbPlayer(GlbReader):
    """Where everything is at a moment."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        (animation,) = self.json["animations"]
        self.tracks = {}
        for channel in animation["channels"]:
            sampler, target = animation["samplers"][channel["sampler"]], channel["target"]
            bounds = self.json["accessors"][sampler["input"]]
            assert {"min", "max"} <= bounds.keys() and bounds["type"] == "SCALAR"
            times, values = self.accessor(sampler["input"])[:, 0], self.accessor(sampler["output"])
            assert times[0] >= 0 and (np.diff(times) > 0).all()
            for index in (sampler["input"], sampler["output"]):
                assert "target" not in self.json["bufferViews"][self.json["accessors"][index]["bufferView"]]
            key = self.json["nodes"][target["node"]]["name"], target["path"]
            assert key not in self.tracks and "matrix" not in self.json["nodes"][target["node"]]
            values = values.reshape(len(times), -1)
            if target["path"] == "rotation":
                np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
                assert ((values[1:] * values[:-1]).sum(axis=1) >= 0).all()  # the short way
            self.tracks[key] = (times.astype(float), values.astype(float), sampler["interpolation"])

    def at(self, node: str, path: str, time: float) -> np.ndarray:
        times, values, how = self.tracks[node, path]
        if how == "STEP":
            return values[max(np.searchsorted(times, time + 1e-6, side="right") - 1, 0)]
        time = np.clip(time, times[0], times[-1])
        if path == "rotation" and len(times) > 1:
            return Slerp(times, Rotation.from_quat(values))([time]).as_quat()[0]
        return np.array([np.interp(time, times, column) for column in values.T])

    def head(self, time: float) -> np.ndarray:
        """Of the scene's root to the mesh; its children have no transform of their own."""
        nodes = {node["name"]: node for node in self.json["nodes"]}
        assert self.json["nodes"][self.json["scenes"][0]["nodes"][0]]["name"] == "head"
        assert nodes["head"]["children"] == [self.json["nodes"].index(nodes["face"])] and len(nodes["face"]) == 2
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_quat(self.at("head", "rotation", time)).as_matrix()
        matrix[:3, 3] = self.at("head", "translation", time)
        return matrix

    def mesh_at(self, time: float) -> np.ndarray:
        """Vertices in the scene."""
        moves = np.array(list(self.targets().values()), dtype=float)
        assert len(self.at("face", "weights", time)) == len(moves)
        own = self.attribute("POSITION") + np.tensordot(self.at("face", "weights", time), moves, axes=1)
        head = self.head(time)
        return own @ head[:3, :3].T + head[:3, 3]

    def pixels(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Scene to pixels (centres at integers) of a picture of (height, width) around the optical axis."""
        (node,) = [node for node in self.json["nodes"] if "camera" in node]
        lens = self.json["cameras"][0]["perspective"]
        eye = np.column_stack([points, np.ones(len(points))]) @ np.linalg.inv(np.reshape(node["matrix"], (4, 4)).T).T
        half = np.tan(lens["yfov"] / 2)
        clip = eye[:, :2] / [half * lens["aspectRatio"], half] / -eye[:, 2:3]
        return (clip * [1, -1] + 1) / 2 * np.array(size[::-1]) - 0.5
