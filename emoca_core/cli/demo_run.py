"""What ``emoca demo`` shows: real photos as 3D faces, and the emotions on two heads that nobody has to license."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from emoca_core.errors import EmocaError, MissingAssetError, RecipeError
from emoca_core.export.arkit import has_arkit_names
from emoca_core.files import atomic_write
from emoca_core.geometry.lighting import SH_CONSTANTS
from emoca_core.images.photo_search import PHOTO_SUFFIXES
from emoca_core.interfaces import EXPRESSIONS, FaceModel, FaceParameters, PerspectiveCamera, Renderer
from emoca_core.method import Method
from emoca_core.optimisation import default_terms
from emoca_core.optimisation.optimisation import DEFAULT_JUDGE
from emoca_core.optimisation.pair import one_face
from emoca_core.optimisation.starts import DEFAULT_START
from emoca_core.optimisation.to_folder import PAGE, Plan, optimise_to_folder
from emoca_core.rendering.face import render_face
from emoca_core.retargeting import Curve, RetargetSettings, retarget_to_folder
from emoca_core.runs.backbones import find_witness
from emoca_core.vocabulary.arkit import EmotionPrototype, emotion_prototype

_HEIGHT, _WIDTH, _LABEL, _SUPERSAMPLING = 340, 250, 34, 2
_PAPER, _INK = (246, 246, 248), (70, 70, 78)
_DISTANCE, _SEEN, _RAISED = 1.2, 0.31, 0.012
"""Metres: from the camera to the face, height that a tile shows there, and by how much it looks above the face."""
_LIGHT = (0.95, -0.08, 0.18, 0.26)
"""Irradiance of the bands 1, x, y, z: soft light from the upper front, a little from the subject's right."""
_STEPS = 25
"""Of the optimisation."""
_SURPRISE, _FILM_RATE, _FILM = "0:0,0.4:1,0.8:1,1.2:0", 15.0, ("glb", "overlay", "page")
"""Curve, frames a second and formats of the photo that moves."""
_GAZE_AXES = (0, 3)
"""Pitch of the left and of the right eye in ``eye_pose``."""


def example_photos() -> list[Path]:
    """The photos that come with the project.

    Raises:
        MissingAssetError: This installation has none.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "examples/photos", package.parent / "examples/photos"):
        photos = sorted(path for path in folder.glob("*") if path.suffix in PHOTO_SUFFIXES)
        if photos:
            return photos
    raise MissingAssetError(
        "this installation has no example photos. Use your own: emoca reconstruct my_photo.jpg --out captures"
    )


def draw_emotions(face_model: FaceModel, renderer: Renderer, path: Path) -> None:
    """Render the basic emotions, neutral and contempt on two identities into one picture.

    Args:
        face_model: A model with ARKit names.
        renderer: Decides visibility.
        path: PNG to write.

    Raises:
        RecipeError: The model has no ARKit names.
        OSError: The picture cannot be written.
    """
    if not has_arkit_names(face_model):
        raise RecipeError(f"emotions need a face model with the 52 ARKit names; {type(face_model).__name__} has none")
    prototypes = [emotion_prototype(name) for name in EXPRESSIONS]
    rows = [
        _render(face_model, renderer, _parameters(face_model, prototypes, *person)) for person in _people(face_model)
    ]
    with atomic_write(path) as temporary:
        _sheet(rows, [prototype.name for prototype in prototypes]).save(temporary)


def optimise_emotion(method: Method, photos: Sequence[Path], out: Path, *, overwrite: bool) -> list[Path]:
    """Give the person of the last photo the expression of the first; a few steps, which show how it goes.

    Returns:
        The page; nothing where there are no two photos.
    """
    if len(photos) < 2:
        return []
    source, target = (one_face(method, photo) for photo in (photos[-1], photos[0]))
    settings = {"steps": _STEPS, "size": 96}
    plan = Plan(default_terms(target.parameters), ("expression",), DEFAULT_JUDGE, None, (DEFAULT_START,), settings)
    optimise_to_folder(method, source, target, plan, out, overwrite=overwrite, say=lambda line: None)
    return [out / PAGE]


def move_photo(method: Method, photo: Path, out: Path, *, overwrite: bool) -> Path:
    """Let the face of a photo be surprised; the film.

    Raises:
        EmocaError: It cannot move.
    """
    settings = RetargetSettings(curve=Curve.parse(_SURPRISE), rate=_FILM_RATE)
    report = retarget_to_folder(
        method,
        photo,
        ["emotion:surprise"],
        out,
        settings=settings,
        witness=find_witness(device=method.device),
        write=_FILM,
        overwrite=overwrite,
    )
    if report.failed:
        raise EmocaError(report.failed[0][1])
    return out / [*report.done, *report.skipped][0] / "overlay.mp4"


def _people(face_model: FaceModel) -> Iterator[tuple[Float[Tensor, "1 S"], Float[Tensor, "1 A"]]]:
    """The average face, and one that differs from it: reproducible, moderate, with another skin."""
    device = face_model.faces.device
    shape, albedo = (torch.zeros(1, face_model.blocks.get(name, 0)) for name in ("shape", "albedo"))
    yield shape.to(device), albedo.to(device)
    random = torch.Generator().manual_seed(12)
    shape, tone = 0.8 * torch.randn(shape.shape, generator=random), albedo.clone()
    tone[:, :1] = -0.8
    yield shape.to(device), tone.to(device)


def _parameters(
    face_model: FaceModel,
    prototypes: Sequence[EmotionPrototype],
    shape: Float[Tensor, "1 S"],
    albedo: Float[Tensor, "1 A"],
) -> FaceParameters:
    count = len(prototypes)
    names = list(face_model.expression_names)
    expression = shape.new_zeros(count, len(names))
    eyes = shape.new_zeros(count, 6)
    for row, prototype in enumerate(prototypes):
        for name, value in prototype.activations.items():
            expression[row, names.index(name)] = value
        expression[row, names.index("jawOpen")] += prototype.jaw_open
        eyes[row, list(_GAZE_AXES)] = prototype.gaze_pitch
    return FaceParameters(
        shape=shape.expand(count, -1),
        expression=expression,
        eye_pose=eyes,
        albedo=albedo.expand(count, -1),
        units={"expression": "activation"},
    )


def _render(face_model: FaceModel, renderer: Renderer, parameters: FaceParameters) -> Float[np.ndarray, "B H W 3"]:
    """Pictures in [0, 255], one for each row of the code."""
    count, size = len(parameters), (_HEIGHT * _SUPERSAMPLING, _WIDTH * _SUPERSAMPLING)
    device = face_model.faces.device
    ones = torch.ones(count, 1, device=device)
    with torch.no_grad():
        geometry = face_model(parameters)
        points = geometry.landmarks["ibug68"].mean(dim=1)
        place = torch.stack([-points[:, 0], points[:, 1] + _RAISED, _DISTANCE + points[:, 2]], dim=1)
        focal = 2 * _DISTANCE / _SEEN * ones * ones.new_tensor([_HEIGHT / _WIDTH, 1.0])
        camera = PerspectiveCamera(focal, torch.zeros_like(focal), place)
        light = torch.zeros(count, 9, 3, device=device)
        for band, strength in enumerate(_LIGHT):
            light[:, band] = strength / SH_CONSTANTS[band]
        albedo = face_model.albedo(parameters)
        picture = render_face(renderer, face_model, geometry, camera, albedo, light, size)
        paper = torch.tensor(_PAPER, device=device)[:, None, None] / 255
        image = picture.image.clamp(0, 1) + paper * (1 - picture.mask)
        image = torch.nn.functional.avg_pool2d(image, _SUPERSAMPLING)
    return (255 * image).round().permute(0, 2, 3, 1).cpu().numpy()


def _sheet(rows: Sequence[Float[np.ndarray, "B H W 3"]], names: Sequence[str]) -> Image.Image:
    sheet = Image.new("RGB", (len(names) * _WIDTH, len(rows) * _HEIGHT + _LABEL), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, name in enumerate(names):
        for row, pictures in enumerate(rows):
            sheet.paste(Image.fromarray(pictures[column].astype(np.uint8)), (column * _WIDTH, row * _HEIGHT))
        middle = (column + 0.5) * _WIDTH, len(rows) * _HEIGHT + _LABEL / 2 - 3
        draw.text(middle, name, fill=_INK, font=font, anchor="mm")
    return sheet
