"""A block of the face code that the framework has never heard of: size and unit are declared by the parts."""

import pytest
import torch
from local_plugins import component_registry
from torch import nn

from emoca_core import ComponentParams
from emoca_core.errors import AssetFormatError, RecipeError
from emoca_core.export.codes import describe_codes, read_codes, write_codes
from emoca_core.images.crops import SHARED_CROP
from emoca_core.interfaces import Encoder, FaceGeometry, FaceModel, FaceParameters, WeakPerspectiveCamera
from emoca_core.interfaces.samples import sample_crop, sample_geometry
from emoca_core.method.method import _check_fit
from emoca_core.testing import check_component

TONGUE = FaceParameters(
    shape=torch.ones(2, 3), others={"tongue": torch.arange(4.0).view(2, 2)}, units={"tongue": "activation"}
)


class TongueEncoder(Encoder):
    """Predicts how far the tongue is out. Source: this test."""

    class Params(ComponentParams):
        """None."""

    params: Params
    blocks = {"expression": 5, "tongue": 2, "camera": 3}  # noqa: RUF012
    crop_rule = SHARED_CROP

    def __init__(self, params=None):
        super().__init__(params)
        self.regress = nn.Linear(3, 10)

    def forward(self, crop):
        expression, tongue, camera = self.regress(crop.image.mean((2, 3))).split([5, 2, 3], 1)
        code = FaceParameters(expression=expression, camera=WeakPerspectiveCamera.from_code(camera))
        return code.replace(tongue=tongue, units={"tongue": "activation"})


class WithoutUnit(TongueEncoder):
    """Source: this test."""

    blocks = {"expression": 5, "tongues": 2, "camera": 3}  # noqa: RUF012


class TongueModel(FaceModel):
    """Knows one tongue coefficient only. Source: this test."""

    blocks = {"expression": 5, "shape": 3, "tongue": 1}  # noqa: RUF012

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        return sample_geometry()


def test_it_travels_with_the_code():
    assert TONGUE.blocks()["tongue"].tolist() == [[0, 1], [2, 3]]
    assert TONGUE.unit_of("tongue") == "activation"
    assert TONGUE.select(["shape", "tongue"]).shape == (2, 5)
    assert TONGUE.map(lambda tensor: tensor[:1]).others["tongue"].shape == (1, 2)
    assert TONGUE.replace(tongue=torch.zeros(2, 2)).get("tongue").sum() == 0
    assert TONGUE.replace(tongue=None).others == {}


@pytest.mark.parametrize("units", [{}, {"tong": "activation"}])
def test_it_says_what_it_means(units):
    with pytest.raises(ValueError, match="tongue: a block of one's own has a name of its own and a unit"):
        FaceParameters(others={"tongue": torch.zeros(1, 2)}, units=units)
    with pytest.raises(ValueError, match="shape"):
        FaceParameters(others={"shape": torch.zeros(1, 2)}, units={"shape": "raw"})


def test_it_is_written_and_read(tmp_path):
    write_codes(tmp_path / "codes.safetensors", TONGUE)
    again = read_codes(tmp_path / "codes.safetensors")
    assert torch.equal(again.get("tongue"), TONGUE.get("tongue"))
    assert again.unit_of("tongue") == "activation"
    assert describe_codes(TONGUE.map(lambda tensor: tensor[:1]))["tongue"]["unit"] == "activation"


def test_the_kit_checks_it():
    with component_registry("encoder", Good=TongueEncoder, Bad=WithoutUnit) as registry:
        check_component("encoder", "Good", registry=registry, sample=sample_crop(64))
        with pytest.raises(AssertionError, match=r"blocks that do not exist: .'tongues'."):
            check_component("encoder", "Bad", registry=registry, sample=sample_crop(64))


def test_sizes_must_fit_where_the_face_model_knows_it():
    with pytest.raises(RecipeError, match="predicts 2 tongue coefficients, but TongueModel has 1"):
        _check_fit("mine", TongueEncoder(), TongueModel(), None)


def test_a_file_with_a_block_that_nobody_explains_is_refused(tmp_path):
    from emoca_core.weights.write_tensors import write_tensors

    write_tensors(tmp_path / "odd.safetensors", {"odd": torch.ones(1, 2)}, {"format": "emoca-codes-1", "units": "{}"})
    with pytest.raises(AssetFormatError, match="nobody knows what odd means"):
        read_codes(tmp_path / "odd.safetensors")
