"""Trunks that only look: the same numbers and gradients, new ones when the weights are new, themselves in training."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch

from emoca_core.weights.folded import FoldedTrunk, _normalised
from emoca_core.weights.timm_trunk import create_trunk, map_and_pooled

NETWORKS = {"mobilenetv1_100": {"pad_type": "same"}, "resnet18": {}, "mobilenetv3_small_050": {}}
ROUNDING = 1e-4
"""Of the largest number: a product of single precision for each layer."""


def trunk_of(name: str = "mobilenetv1_100") -> torch.nn.Module:
    """A network whose batch normalisation has statistics and weights of its own."""
    torch.manual_seed(0)
    trunk = create_trunk(name, pretrained=False, options=NETWORKS.get(name, {}))
    for module in trunk.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
    return trunk.requires_grad_(False).eval()


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= ROUNDING * other.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_gives_what_the_trunk_gives(name):
    trunk, image = trunk_of(name), torch.rand(3, 3, 64, 64)
    look = FoldedTrunk()
    assert_same(look(trunk, image), map_and_pooled(trunk, image))
    quick = look._made[1]
    assert quick is not None
    assert not _normalised(quick, image[:1]), "nothing is left to fold"
    assert len(_normalised(trunk, image[:1])) > 5


def test_its_gradient_is_that_of_the_trunk():
    trunk = trunk_of()
    image = torch.rand(2, 3, 64, 64)
    found, expected = image.clone().requires_grad_(), image.clone().requires_grad_()
    look = FoldedTrunk()
    look(trunk, found)[1].square().sum().backward()
    map_and_pooled(trunk, expected)[1].square().sum().backward()
    assert look._made is not None and look._made[1] is not None
    # ReLU6 has corners: what rounds to another side of them changes single pixels
    assert (found.grad - expected.grad).norm() <= 1e-3 * expected.grad.norm()
    assert expected.grad.norm() > 0


def test_new_weights_are_seen():
    trunk, image = trunk_of(), torch.rand(1, 3, 64, 64)
    look = FoldedTrunk()
    before = look(trunk, image)[1]
    with torch.no_grad():
        next(trunk.parameters()).mul_(2)
    assert_same(look(trunk, image), map_and_pooled(trunk, image))
    assert not torch.allclose(look(trunk, image)[1], before)
    trunk.load_state_dict(create_trunk("mobilenetv1_100", pretrained=False).state_dict())
    assert_same(look(trunk, image), map_and_pooled(trunk, image))


def test_a_trunk_that_trains_works_itself():
    trunk, image = trunk_of(), torch.rand(2, 3, 64, 64)
    look = FoldedTrunk()
    trunk.requires_grad_(True)
    look(trunk, image)
    assert look._made is None, "its weights want a gradient"
    trunk.requires_grad_(False).train()
    mean = trunk.get_buffer("bn1.running_mean").clone()
    look(trunk, image)
    assert look._made is None
    assert not torch.equal(mean, trunk.get_buffer("bn1.running_mean")), "it still takes statistics"
    with torch.no_grad():
        look(trunk, image)
        trunk.eval().requires_grad_(True)
        look(trunk, image)
    assert look._made is not None, "validation looks"


def test_what_cannot_be_folded_works_itself():
    trunk = create_trunk("vit_tiny_patch16_224", pretrained=False, options={"img_size": 32, "depth": 1}).eval()
    trunk.requires_grad_(False)
    look, image = FoldedTrunk(), torch.rand(1, 3, 32, 32)
    assert_same(look(trunk, image), map_and_pooled(trunk, image))
    assert look._made == (look._made[0], None)


def test_a_copy_that_computes_something_else_is_not_used():
    """A convolution whose output is also used without the normalisation."""
    trunk = trunk_of()
    stem = trunk.bn1.forward
    trunk.conv_stem.register_forward_hook(lambda module, inputs, output: setattr(trunk, "seen", [output]))
    trunk.bn1.forward = lambda x: stem(x) + trunk.seen[0]
    look, image = FoldedTrunk(), torch.rand(1, 3, 64, 64)
    assert_same(look(trunk, image), map_and_pooled(trunk, image))
    assert look._made is not None and look._made[1] is None


def test_weights_that_do_not_tell_when_they_change_are_not_folded():
    with torch.inference_mode():
        trunk, image = trunk_of(), torch.rand(1, 3, 64, 64)
        look = FoldedTrunk()
        assert_same(look(trunk, image), map_and_pooled(trunk, image))
    assert look._made is None


def test_other_layers_modes_and_trunks_are_seen():
    trunk, other, image = trunk_of(), trunk_of("resnet18"), torch.rand(2, 3, 64, 64)
    look = FoldedTrunk()
    look(trunk, image)
    assert_same(look(other, image), map_and_pooled(other, image))
    other.act1 = torch.nn.Tanh()
    assert_same(look(other, image), map_and_pooled(other, image))
    other.bn1.train()
    assert_same(look(other, image), map_and_pooled(other, image))
    other.bn1.eval()
    seen = []
    other.layer1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    look(other, image)
    seen.clear()
    look(other, image)
    assert len(seen) == 1


def test_threads_an_empty_batch_and_copies():
    trunk, image = trunk_of(), torch.rand(2, 3, 64, 64)
    expected, look = map_and_pooled(trunk, image), FoldedTrunk()
    assert look(trunk, image[:0])[1].shape == (0, 1024)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: look(trunk, image), range(12)):
            assert_same(found, expected)
    assert look._made is not None and look._made[1] is not None
    copy = pickle.loads(pickle.dumps(look))
    assert copy._made is None and deepcopy(look)._made is None
    assert_same(copy(trunk, image), expected)


def test_a_layer_that_runs_twice_is_left_alone():
    trunk = trunk_of()
    forward = trunk.forward_features
    trunk.forward_features = lambda x: forward(x) + 0.1 * forward(0.5 * x)
    look, image = FoldedTrunk(), torch.rand(1, 3, 64, 64)
    assert_same(look(trunk, image), map_and_pooled(trunk, image))
