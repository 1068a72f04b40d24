"""``refined_fit_free``: another judge and weights than ``refined_fit``, and no part of it is for research only."""

import pytest
import torch
from safetensors.torch import load_file

from emoca_core import get_registry, load_method
from emoca_core.errors import MissingAssetError
from emoca_core.files import sha256_of
from emoca_core.interfaces import Parts
from emoca_core.interfaces.samples import sample_crop
from emoca_core.registry.catalogue import get_catalogue
from emoca_plugins.encoders.refined_fit_free import RefinedFitFree

FIT = {"uses": "landmark_fit", "params": {"appearance": False}}


def encoder(**params):
    registry = get_registry()
    head = registry.build("face_model", "open_head", {"texture_size": 64})
    made = registry.build("encoder", "refined_fit_free", {"fit": FIT, **params})
    made.attach(Parts(head, registry.build("renderer", "zbuffer")))
    return made.eval()


def test_the_weights_that_come_with_the_project_are_those_of_their_card():
    card = get_catalogue().card("encoder", "refined_fit_free")
    assert card.shipped.sha256 == sha256_of(RefinedFitFree.shipped)
    assert RefinedFitFree.shipped.stat().st_size < 2e5
    assert {t.dtype for t in load_file(RefinedFitFree.shipped).values()} == {torch.float16}
    shipped, crop = encoder(weights="open_emoca_fit_free"), sample_crop(96, 3)
    change = shipped(crop).expression - shipped.fit(crop).expression
    assert 0.01 < change.abs().max() <= 0.4
    assert type(shipped.judge).__name__ == "OpenEmotionFree"


def test_the_weights_of_the_other_refinement_are_not_taken_by_name():
    with pytest.raises(MissingAssetError, match="open_emoca_fit"):
        encoder(weights="open_emoca_fit")


def test_an_untrained_one_is_refused_by_its_own_name():
    with pytest.raises(MissingAssetError, match="refined_fit_free"):
        encoder()


@pytest.mark.parametrize("name", ["open_emoca_fit_free", "open_emoca_fit_free_codes"])
def test_the_recipe_works_after_installation_and_every_part_is_free(name):
    encoder = load_method(name, device="cpu").encoder
    assert encoder.params.weights == "open_emoca_fit_free"
    assert ("lighting" in encoder.blocks) == (name == "open_emoca_fit_free")
    catalogue = get_catalogue()
    for kind, part in catalogue.recipe(name).parts().items():
        assert "research" not in catalogue.card(kind, part.uses).license, (kind, part.uses)
    assert "research" not in catalogue.card("emotion_backbone", encoder.params.judge.uses).license
