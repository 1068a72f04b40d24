"""``emoca train coarse`` and ``emoca train detail``: a recipe, a data set and a run folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import set_seed

from emoca_core.errors import EmocaError, ParamsError
from emoca_core.files import sha256_of
from emoca_core.interfaces import FaceDataset, FaceSample
from emoca_core.method import Method, build_parts
from emoca_core.method.objective import build_objective
from emoca_core.registry import Registry, get_registry
from emoca_core.registry import catalogue as catalogues
from emoca_core.registry.catalogue import Catalogue, Recipe, get_catalogue
from emoca_core.registry.spec import UsedComponent
from emoca_core.registry.terms import Stage, looks_at_emotion
from emoca_core.runs.loading import load_trained
from emoca_core.runs.run_folder import Progress
from emoca_core.runs.start import emotion_changes, start_changes, start_of
from emoca_core.runs.trained_folder import find_method, open_folder
from emoca_core.train.augmentation import FaceChanges, change_face
from emoca_core.train.face_batches import collate_face_batch
from emoca_core.train.loop import train
from emoca_core.train.ring_batches import RingBatches
from emoca_core.train.sampling import TrainBatches
from emoca_core.train.stage_settings import StageSettings, stage_settings
from emoca_core.train.stage_task import TASKS, ReconstructionTask

VALIDATION_FACES = 256
"""Faces of an endless data set that validation looks at, unless ``validation_data`` says otherwise."""


@dataclass(frozen=True)
class StageRun:
    """A stage, ready to start.

    Attributes:
        task: For the loop.
        training: Training faces.
        validation: Validation faces.
        settings: Of the stage.
        also: Further validation faces, by name.
    """

    task: ReconstructionTask
    training: FaceDataset
    validation: FaceDataset
    settings: StageSettings
    also: Mapping[str, FaceDataset]

    def train(self, out: Path, *, resume: bool = False) -> Progress:
        """Train, or continue the run in ``out``, and return where the run ended.

        Raises:
            EmocaError: A run folder in use, a diverged loss.
        """
        return train(
            self.task,
            self.training,
            self.validation,
            self.settings,
            out,
            collate=collate_face_batch,
            augment=None if self.settings.augment == FaceChanges() else self._changed,
            batches=ring_batches(self.training, self.settings),
            also=self.also,
            resume=resume,
        )

    def _changed(self, sample: FaceSample, generator: torch.Generator) -> FaceSample:
        return change_face(sample, generator, self.settings.augment)


def prepare_stage(
    stage: Stage,
    recipe: str,
    data: str,
    *,
    settings: Mapping[str, object] | None = None,
    change: Mapping[str, object] | None = None,
    start: Path | None = None,
    emotion: Path | None = None,
    registry_file: Path | None = None,
) -> StageRun:
    """Build everything that a stage of a recipe needs, and refuse what cannot work before anything is computed.

    Args:
        stage: ``coarse`` trains the encoder, ``detail`` the detail model on top of a frozen encoder.
        recipe: Name of a recipe.
        data: A manifest, or the name of a data set.
        settings: Fields of ``StageSettings`` that differ from the recipe's ``training`` block.
        change: Merged into the recipe, e.g. ``{"losses": {"emotion": {"weight": 0.5}}}``.
        start: Run folder or package whose weights this one starts from: the coarse run for the detail stage.
        emotion: Run folder of ``train_emotion`` whose backbone takes the place of the recipe's.
        registry_file: Your own registry.yaml, merged on top of the catalogue.

    Raises:
        UnknownNameError: No such recipe, component or data set.
        RecipeError: The recipe cannot be trained; all reasons at once.
        EmocaError: Unreadable data.
    """
    registry = get_registry()
    catalogue = get_catalogue(registry_file, registry)
    catalogue.recipe(recipe)  # raises, with all names
    named, own = find_method(recipe, catalogue, registry)
    started = open_folder(start) if start else own
    seen_through = open_folder(emotion) if emotion else None
    chosen = stage_settings(stage, named.training.get(stage), settings)
    changes = [
        chosen.recipe,
        start_changes(stage, catalogues.changed(named, chosen.recipe).parts()["encoder"].uses, started)
        if started
        else {},
        emotion_changes(seen_through, registry) if seen_through else {},
        change or {},
    ]
    chosen_recipe = catalogues.changed(named, *changes)
    if not (emotion or "emotion_backbone" in (change or {}) or looks_at_emotion(chosen_recipe, stage, registry)):
        chosen_recipe = chosen_recipe.model_copy(update={"emotion_backbone": None})  # its weights need not be there
    training, validation = open_faces(data, chosen, registry)
    also = {name: open_also(used, chosen, registry) for name, used in chosen.also.items()}
    set_seed(chosen.seed)  # before the networks: their initialisation is part of the run
    method = assemble(stage, recipe, chosen_recipe, catalogue, registry)
    card: dict[str, object] = {"name": recipe, "recipe": method.recipe.model_dump(mode="json", by_alias=True)}
    if started is not None:
        load_trained(method.parts(), started, larger=True)
        card["start"] = start_of(started)
    if seen_through is not None:
        load_trained(method.parts(), seen_through)
        card["emotion"] = start_of(seen_through)
    objective = build_objective(
        method, chosen_recipe, stage, catalogue, registry, truth=training[0].parameters is not None
    )
    paths = {
        **method.asset_paths(),
        **{k: p for loss in objective.losses.values() for k, p in loss.asset_paths.items()},
    }
    card["assets"] = {name: {"file": str(path), "sha256": sha256_of(path)} for name, path in paths.items()}
    task = TASKS[stage](method, objective, chosen, card)
    for faces in (training, *also.values()):
        rehearse(task, faces)
    return StageRun(task, training, validation, chosen, also)


def assemble(stage: Stage, name: str, recipe: Recipe, catalogue: Catalogue, registry: Registry) -> Method:
    """The parts of a recipe that the stage works with: no landmarker, and no detail in the coarse stage.

    Raises:
        EmocaError: Everything that is missing or wrong, at once.
    """
    kept = recipe.model_copy(update={"detail": None}) if stage == "coarse" else recipe  # of which a run would be part
    needed = kept.model_copy(update={"landmarker": None})
    return Method(name, kept, build_parts(needed, catalogue, registry))


def open_faces(data: str, settings: StageSettings, registry: Registry) -> tuple[FaceDataset, FaceDataset]:
    """Training and validation faces of a manifest, or of a data set by name.

    A data set with splits is asked for ``train`` and ``validation``. An endless one, which has a seed instead, draws
    its validation faces with the next seed.

    Raises:
        UnknownNameError: ``data`` is neither a file nor a data set.
    """
    name, where = (data, {}) if ("dataset", data) in registry.components else ("manifest", {"file": Path(data)})
    if where and not Path(data).suffix:
        registry.find("dataset", data)  # raises, with all names
    fields = registry.resolve("dataset", name).Params.model_fields
    shares: tuple[dict[str, object], dict[str, object]] = ({}, {})
    if "split" in fields:
        shares = {"split": "train"}, {"split": "validation"}
    elif {"seed", "length"} <= fields.keys():
        seed = registry.params("dataset", name, settings.data).model_dump()["seed"]
        shares = ({}, {"seed": seed + 1, "length": VALIDATION_FACES})
    training = {**where, **shares[0], **settings.data}
    validation = {**where, **settings.data, **shares[1], **settings.validation_data}
    return registry.build("dataset", name, training), registry.build("dataset", name, validation)


def open_also(used: UsedComponent, settings: StageSettings, registry: Registry) -> FaceDataset:
    """Further validation faces, of the size of the others.

    Raises:
        UnknownNameError: No such data set.
        ParamsError: A parameter is unknown, or there are no faces.
    """
    fields = registry.resolve("dataset", used.uses).Params.model_fields
    size = {name: settings.data[name] for name in ("image_size",) if name in settings.data and name in fields}
    faces = registry.build("dataset", used.uses, {**size, **used.params})
    if not len(faces):
        raise ParamsError(f"there are no faces to validate with in {used.uses} {dict(used.params)}")
    return faces


def ring_batches(faces: FaceDataset, settings: StageSettings) -> Callable[[int, int], TrainBatches] | None:
    """Batches of several images of each person; ``None`` where a batch holds faces whoever they are.

    Raises:
        ParamsError: Nobody knows who is on the images.
    """
    if settings.images_per_identity == 1:
        return None
    people = faces.identities()
    if people is None:
        raise ParamsError(
            f"images_per_identity is {settings.images_per_identity}, but {type(faces).__name__} does not know who is "
            "on its images: fill the manifest's column identity (or clip), or set images_per_identity to 1"
        )

    def batches(rank: int, world: int) -> TrainBatches:
        return RingBatches(
            people,
            images=settings.images_per_identity,
            few_images=settings.few_images,
            batch_size=settings.batch_size,
            accumulation=settings.accumulation,
            rank=rank,
            world=world,
            seed=settings.seed,
        )

    return batches


def rehearse(task: ReconstructionTask, faces: FaceDataset) -> None:
    """Compute the objective of two faces, so that what cannot work fails now, with one line.

    Raises:
        ParamsError: What the terms say of these faces.
    """
    state = torch.get_rng_state()
    try:
        batch = collate_face_batch([faces[index] for index in range(min(2, len(faces)))])
        task.eval().predict(batch)
    except (ValueError, KeyError) as error:
        if isinstance(error, EmocaError):
            raise
        raise ParamsError(f"the objective of the {task.stage} stage fails on the first faces: {error}") from error
    finally:
        torch.set_rng_state(state)
