"""Face crop to parameters."""

from abc import abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces.component import ModuleComponent
from emoca_core.interfaces.crop import CropRule
from emoca_core.interfaces.emotion import EmotionReading
from emoca_core.interfaces.face import IDENTITY, Block, FaceCrop, FaceParameters
from emoca_core.interfaces.parts import Parts


class Encoder(ModuleComponent):
    """Estimates a face code: a network that regresses it, or an optimiser that fits it.

    Attributes:
        blocks: The blocks it predicts and their sizes; the assembly checks them against the face model.
        crop_rule: How the published method cuts its input (the ``native`` policy).
        needs: Optional fields of ``FaceCrop`` that it reads, e.g. ``{"landmarks"}``.
        frames_have_pixels: Whether ``encode_frames`` looks at the crops' pixels; where it does not, clips are not
            decoded again for it, and it gets black ones.
        glance_size: Numbers that ``glance`` takes from the pixels of a face; 0: it takes none.
        person_landmarks: Of so many of the best frames the landmarks tell ``encode_person`` who somebody is; 0: only
            of those that it gets with pixels.
    """

    blocks: Mapping[Block, int]
    crop_rule: CropRule
    needs: frozenset[str] = frozenset()
    frames_have_pixels: bool = True
    glance_size: int = 0
    person_landmarks: int = 0

    @abstractmethod
    def forward(self, crop: FaceCrop) -> FaceParameters:
        """Estimate the code of every face in the batch, including its camera."""

    def encode_person(self, crop: FaceCrop, others: FaceCrop | None = None) -> FaceParameters:
        """What stays the same of one person, from some of their best crops together: blocks of ``IDENTITY``.

        Other blocks may say what else ``encode_frames`` of the same encoder is to know again; nobody else reads them.

        Networks are asked for each crop, and the middle of their answers (the median, number by number) is taken.
        Analysis by synthesis may fit all crops at once.

        Args:
            crop: Some of the best frames.
            others: Black crops of more frames, for the landmarks; only encoders with ``person_landmarks`` get them.

        Returns:
            A batch of one.
        """
        code = self(crop)
        known = {name: block for name in IDENTITY if (block := getattr(code, name)) is not None}
        return FaceParameters(**{name: block.median(dim=0, keepdim=True).values for name, block in known.items()})

    def glance(self, crop: FaceCrop) -> Float[Tensor, "B G"]:
        """All that ``encode_frames`` wants of the pixels, in few numbers; only encoders with ``glance_size`` have it.

        Of photos it is taken as well, before ``forward``, which finds it in the crop.

        Clips are glanced at while their faces are followed, and then need not be decoded again. The crops are those
        of photos: nothing has smoothed them yet.
        """
        raise NotImplementedError(f"{type(self).__name__} has no glance_size")

    def emotion_in(self, glance: Float[Tensor, "B G"]) -> EmotionReading | None:
        """The emotion that a glance tells; ``None`` where it tells none."""
        return None

    def encode_frames(self, crop: FaceCrop, person: FaceParameters) -> FaceParameters:
        """The code of one person in some frames of a clip, in order of time.

        Args:
            crop: The frames. Where ``glance`` has looked at them, the crop has what it found.
            person: What ``encode_person`` found; a batch of one. The result has it in every row.
        """
        code: FaceParameters = self(crop)
        if person.shape is not None:
            code = self.with_shape(crop, code, person.shape.expand(len(crop), -1))
        known = {name: getattr(person, name) for name in IDENTITY}
        return code.replace(**{n: b.expand(len(crop), *b.shape[1:]) for n, b in known.items() if b is not None})

    def with_shape(self, crop: FaceCrop, code: FaceParameters, shape: Float[Tensor, "B S"]) -> FaceParameters:
        """The code of faces whose shape is known: that of a person in a clip, or of another picture in training.

        All else stays as it is; an encoder that knows how the rest goes along with the shape overrides this.

        Args:
            crop: The faces.
            code: What the encoder found in them by itself.
            shape: Of each.
        """
        return code.replace(shape=shape)

    def attach(self, parts: Parts) -> None:
        """Called once by the assembly. Analysis by synthesis needs the parts it inverts; networks ignore this.

        Raises:
            RecipeError: The encoder cannot work with these parts.
        """
        return None
