"""USD: the neutral head with blend shapes on a skeleton of one joint, and their animation, in one USDZ file."""

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdShade, UsdSkel, Vt

from emoca_core.export.camera import camera_to_gltf
from emoca_core.export.head_motion import HeadMotion, continuous_quaternions, head_motion
from emoca_core.export.mesh import unit_normals
from emoca_core.export.png import texture_png
from emoca_core.files import atomic_write
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter, FaceMesh, PhotoCamera

_FILM_MM = 36.0
"""Width of the camera's picture as USD counts it; only ratios matter."""
_STILL = 1e-7
"""Vertices that a blend shape moves less are left out of it, metres."""
_ALBEDO = "albedo.png"


class UsdZip(Exporter):
    """``face.usdz``: the head as UsdSkel with one blend shape for each target of the rig, texture, and the camera.

    Of a clip, weights and head are animated at the times of its frames; while the person is away, the head is
    invisible. Metres, y up.

    Source: Universal Scene Description and its UsdSkel schema, Pixar; package of the specification of USDZ.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        return _write(folder / "face.usdz", face.mesh, _still(face.mesh, face.camera), 1.0)

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        rate = max(1.0, round(sequence.clip.frame_rate, 6))
        return _write(folder / "face.usdz", sequence.rig.mesh, head_motion(sequence), rate)


def _still(mesh: FaceMesh, camera: PhotoCamera | None) -> HeadMotion:
    """A face of a photo as an animation of a single moment."""
    weights = [] if mesh.rig is None else list(mesh.rig.weights.values())
    always = np.zeros(1), np.ones(1, bool)
    return HeadMotion(np.zeros(1), np.eye(4)[None], np.array([weights]).reshape(1, -1), camera, *always)


def _write(path: Path, mesh: FaceMesh, motion: HeadMotion, rate: float) -> Sequence[ExportedFile]:
    with TemporaryDirectory() as temporary, atomic_write(path) as target:
        layer = Path(temporary, "face.usdc")
        stage = Usd.Stage.CreateNew(str(layer))
        _Scene(stage, mesh, motion, rate).build()
        if not stage.GetRootLayer().Save():
            raise OSError(f"{layer} cannot be written")
        with zipfile.ZipFile(target, "w") as package:
            _add(package, "face.usdc", layer.read_bytes())
            if mesh.texture is not None and mesh.has_uv:
                _add(package, _ALBEDO, texture_png(mesh.texture))
    return [ExportedFile(path, "USD")]


def _add(package: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Store a file without compression, time or rights, its content at a multiple of 64 bytes."""
    assert package.fp is not None
    beside = package.fp.tell() + 30 + len(name) + 4
    padding = -beside % 64
    entry = zipfile.ZipInfo(name)  # of 1980
    entry.extra = struct.pack("<HH", 0x1986, padding) + bytes(padding)
    package.writestr(entry, content)


class _Scene:
    """Fills a stage."""

    def __init__(self, stage: Usd.Stage, mesh: FaceMesh, motion: HeadMotion, rate: float) -> None:
        self.stage, self.mesh, self.motion, self.rate = stage, mesh, motion, rate
        self.names = [] if mesh.rig is None else [_identifier(name) for name in mesh.rig.weights]

    def build(self) -> None:
        """The whole scene."""
        UsdGeom.SetStageUpAxis(self.stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(self.stage, 1.0)
        self.stage.SetTimeCodesPerSecond(self.rate)
        self.stage.SetFramesPerSecond(self.rate)
        if len(self.motion.times) > 1:
            self.stage.SetStartTimeCode(self.rate * self.motion.times[0])
            self.stage.SetEndTimeCode(self.rate * self.motion.times[-1])
        root = UsdSkel.Root.Define(self.stage, "/head")
        self.stage.SetDefaultPrim(root.GetPrim())
        surface = self._surface()
        self._skeleton(surface)
        if self.mesh.texture is not None and self.mesh.has_uv:
            self._material(surface)
        if self.motion.camera is not None:
            self._camera(self.motion.camera)

    def _surface(self) -> UsdGeom.Mesh:
        mesh, surface = self.mesh, UsdGeom.Mesh.Define(self.stage, "/head/face")
        vertices = mesh.vertices if mesh.rig is None else mesh.rig.neutral
        surface.CreatePointsAttr(_vectors(vertices))
        surface.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
        surface.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.astype(np.int32).ravel()))
        surface.CreateNormalsAttr(_vectors(unit_normals(vertices, mesh.faces)))
        surface.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
        surface.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
        surface.CreateExtentAttr(_vectors(np.stack([vertices.min(axis=0), vertices.max(axis=0)])))
        primvars = UsdGeom.PrimvarsAPI(surface)
        if mesh.uv is not None and mesh.uv_faces is not None:
            st = primvars.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
            st.Set(Vt.Vec2fArray.FromNumpy(mesh.uv.astype(np.float32)))
            st.SetIndices(Vt.IntArray.FromNumpy(mesh.uv_faces.astype(np.int32).ravel()))
        if mesh.vertex_colors is not None:
            surface.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(_vectors(np.clip(mesh.vertex_colors, 0, 1)))
        if not self.motion.is_shown.all():
            visibility = surface.CreateVisibilityAttr()
            for time, shown in zip(self.motion.show_times.tolist(), self.motion.is_shown.tolist(), strict=True):
                visibility.Set(UsdGeom.Tokens.inherited if shown else UsdGeom.Tokens.invisible, self.rate * time)
        return surface

    def _skeleton(self, surface: UsdGeom.Mesh) -> None:
        """One joint, which moves the whole head, and the blend shapes."""
        skeleton = UsdSkel.Skeleton.Define(self.stage, "/head/skeleton")
        joints, still = Vt.TokenArray(["head"]), Vt.Matrix4dArray([Gf.Matrix4d(1.0)])
        skeleton.CreateJointsAttr(joints)
        skeleton.CreateBindTransformsAttr(still)
        skeleton.CreateRestTransformsAttr(still)
        animation = UsdSkel.Animation.Define(self.stage, "/head/skeleton/animation")
        UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([animation.GetPath()])
        binding = UsdSkel.BindingAPI.Apply(surface.GetPrim())
        binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
        binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
        binding.CreateJointIndicesPrimvar(constant=True, elementSize=1).Set(Vt.IntArray([0]))
        binding.CreateJointWeightsPrimvar(constant=True, elementSize=1).Set(Vt.FloatArray([1.0]))
        binding.CreateBlendShapesAttr(Vt.TokenArray(self.names))
        binding.CreateBlendShapeTargetsRel().SetTargets([self._blend_shape(i) for i in range(len(self.names))])
        animation.CreateJointsAttr(joints)
        animation.CreateBlendShapesAttr(Vt.TokenArray(self.names))
        animation.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1.0)]))
        self._keys(animation)

    def _keys(self, animation: UsdSkel.Animation) -> None:
        motion = self.motion
        turns = continuous_quaternions(motion.heads[:, :3, :3])
        places, weights = (each.astype(np.float32) for each in (motion.heads[:, :3, 3], motion.weights))
        translations, rotations = animation.CreateTranslationsAttr(), animation.CreateRotationsAttr()
        values = animation.CreateBlendShapeWeightsAttr()
        for row, time in enumerate((self.rate * motion.times).tolist()):
            code = Usd.TimeCode(time) if len(motion.times) > 1 else Usd.TimeCode.Default()
            translations.Set(Vt.Vec3fArray.FromNumpy(places[row : row + 1]), code)
            x, y, z, w = turns[row].tolist()
            rotations.Set(Vt.QuatfArray([Gf.Quatf(w, x, y, z)]), code)
            values.Set(Vt.FloatArray.FromNumpy(weights[row]), code)

    def _blend_shape(self, number: int) -> Sdf.Path:
        assert self.mesh.rig is not None
        moved = self.mesh.rig.targets[number]
        kept = np.flatnonzero(np.abs(moved).max(axis=1) > _STILL)
        kept = kept if len(kept) else np.zeros(1, np.int64)  # an empty list would mean all points
        shape = UsdSkel.BlendShape.Define(self.stage, f"/head/face/{self.names[number]}")
        shape.CreateOffsetsAttr(_vectors(moved[kept]))
        shape.CreatePointIndicesAttr(Vt.IntArray.FromNumpy(kept.astype(np.int32)))
        return shape.GetPath()

    def _material(self, surface: UsdGeom.Mesh) -> None:
        material = UsdShade.Material.Define(self.stage, "/head/skin")
        shader = UsdShade.Shader.Define(self.stage, "/head/skin/surface")
        shader.CreateIdAttr("UsdPreviewSurface")
        shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.7)
        reader = UsdShade.Shader.Define(self.stage, "/head/skin/st")
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
        texture = UsdShade.Shader.Define(self.stage, "/head/skin/albedo")
        texture.CreateIdAttr("UsdUVTexture")
        texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(_ALBEDO)
        texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        st = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
        texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(st)
        color = texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
        shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(color)
        material.CreateSurfaceOutput().ConnectToSource(shader.CreateOutput("surface", Sdf.ValueTypeNames.Token))
        UsdShade.MaterialBindingAPI.Apply(surface.GetPrim()).Bind(material)

    def _camera(self, photo: PhotoCamera) -> None:
        """Units of apertures and focal length are tenths of a scene unit; an orthographic aperture is a size."""
        described = camera_to_gltf(photo)
        if described is None:
            return
        camera = UsdGeom.Camera.Define(self.stage, "/photo")
        camera.AddTransformOp().Set(Gf.Matrix4d(*described.matrix.T.ravel().tolist()))
        camera.CreateClippingRangeAttr(Gf.Vec2f(0.01, 100.0))
        width, height = photo.photo_size[1], photo.photo_size[0]
        lens, middle = photo.intrinsics, np.array([width - 1, height - 1]) / 2
        if photo.model == "perspective":
            unit = _FILM_MM / width
            camera.CreateFocalLengthAttr(float(unit * lens[0, 0]))
        else:
            unit = 10 / lens[0, 0]
            camera.CreateProjectionAttr(UsdGeom.Tokens.orthographic)
        camera.CreateHorizontalApertureAttr(float(unit * width))
        camera.CreateVerticalApertureAttr(float(unit * height * lens[0, 0] / lens[1, 1]))
        shift = unit * (middle - lens[:2, 2]) * [1, -lens[0, 0] / lens[1, 1]]
        camera.CreateHorizontalApertureOffsetAttr(float(shift[0]))
        camera.CreateVerticalApertureOffsetAttr(float(shift[1]))


def _vectors(values: Float[ndarray, "N 3"]) -> Vt.Vec3fArray:
    return Vt.Vec3fArray.FromNumpy(values.astype(np.float32))


def _identifier(name: str) -> str:
    """A name that a prim may have."""
    return str(Tf.MakeValidIdentifier(name))
