"""Networks of timm, with their published weights or without, and what their trunks say of themselves."""

from collections.abc import Callable, Mapping
from operator import attrgetter, methodcaller

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.errors import MissingAssetError, ParamsError, unknown_name
from emoca_core.weights.hub import downloading, has_file, in_cache


def create_trunk(
    name: str, pretrained: bool, options: Mapping[str, object] | None = None, outputs: int = 0
) -> nn.Module:
    """A network without its classifier: images to pooled features.

    Args:
        name: Name of the network in timm.
        pretrained: With its published weights.
        options: Arguments of the network itself, e.g. ``img_size`` of a transformer.
        outputs: Size of a linear layer on top, untrained; 0 leaves it out.

    Raises:
        UnknownNameError: timm has no such network.
        ParamsError: The network has no such option, or cannot be built with it.
        MissingAssetError: Its published weights are neither in the cache nor reachable.
    """
    if not timm.is_model(name):
        raise unknown_name("timm network", name, timm.list_models())
    try:
        known = _file_of(name) if pretrained else {}
        create: Callable[..., nn.Module] = timm.create_model
        extra = {"pretrained_cfg_overlay": known, **(options or {})}
        with downloading():
            return create(name, pretrained=pretrained, num_classes=outputs, **extra)
    except (TypeError, AssertionError) as error:
        if not options:
            raise
        raise ParamsError(f"timm's '{name}' cannot be built with the options {dict(options)}: {error}") from None
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        config = timm.get_pretrained_cfg(name)
        licence, source = (config.license, config.hf_hub_id) if config else (None, None)
        raise MissingAssetError(
            f"timm's weights of '{name}' (licence: {licence or 'see its model card'}) are neither in the cache nor "
            f"reachable: {str(error).splitlines()[0]}\n  Connect once, or copy the files of '{source or name}' into "
            "the cache that HF_HOME names, or set weights: random to train from scratch."
        ) from None


def _file_of(name: str) -> dict[str, str]:
    """Where the published weights lie, if they were downloaded before: then nobody is asked for them.

    Raises:
        ConnectionError: They were not, and the hub is silent.
        OSError: They were not, and the hub refuses.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or config.custom_load or not config.hf_hub_id:
        return {}
    repository, _, revision = config.hf_hub_id.partition("@")
    names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    file = in_cache(repository, names, revision or None)
    if file is not None and file.suffix == ".safetensors":
        return {"file": str(file)}
    if file is None and has_file(repository, names[0], revision or None) is None:
        raise ConnectionError("the Hugging Face hub does not answer")
    return {}


def head_width(trunk: nn.Module) -> int:
    """Length of the pooled features; some networks have a layer between pooling and classifier."""
    return int(attrgetter("head_hidden_size")(trunk))


def map_and_pooled(
    trunk: nn.Module, image: Float[Tensor, "B 3 H W"]
) -> tuple[Float[Tensor, "B C *place"], Float[Tensor, "B D"]]:
    """The last feature map, channels first, and the pooled features."""
    features = methodcaller("forward_features", image)(trunk)
    pooled = methodcaller("forward_head", features, pre_logits=True)(trunk)
    # convolutional networks give [B, C, h, w], Swin gives [B, h, w, C], plain transformers [B, N, C]
    channels_last = features.ndim != 4 or features.shape[1] != map_channels(trunk)
    return features.movedim(-1, 1) if channels_last else features, pooled


def map_channels(trunk: nn.Module) -> int:
    """Channels of the last feature map."""
    return int(attrgetter("num_features")(trunk))


@torch.no_grad()
def measure_statistics(trunk: nn.Module, image: Float[Tensor, "B 3 H W"]) -> None:
    """Give batch normalisation the statistics of some images, and weights that keep what the network computes.

    A network whose statistics were folded into its weights, as in files for browsers, cannot be trained on as it is: in
    training, batch normalisation divides by the batch's deviation, which nothing makes up for.
    """

    def measure(module: nn.modules.batchnorm._BatchNorm, inputs: tuple[Tensor]) -> None:
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))
        assert module.running_mean is not None and module.running_var is not None
        slope = module.weight * (module.running_var + module.eps).rsqrt()
        module.bias.add_((mean - module.running_mean) * slope)
        module.weight.copy_(slope * (variance + module.eps).sqrt())
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)

    layers = [m for m in trunk.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    hooks = [layer.register_forward_pre_hook(measure) for layer in layers]
    training = trunk.training
    try:
        map_and_pooled(trunk.eval(), image)
    finally:
        trunk.train(training)
        for hook in hooks:
            hook.remove()


def has_folded_statistics(trunk: nn.Module) -> bool:
    """Whether no batch normalisation of a network has statistics of its own: all means are 0."""
    means = [m.running_mean for m in trunk.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return bool(means) and not any(mean is not None and bool(mean.any()) for mean in means)


class Normalisation(nn.Module):
    """RGB in [0, 1] minus the mean, divided by the deviation of what a network was trained with."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Float[Tensor, "3"], deviation: Float[Tensor, "3"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", deviation.view(3, 1, 1), persistent=False)

    @classmethod
    def of(cls, trunk: nn.Module, wanted: bool = True) -> "Normalisation":
        """That of a trunk's published weights; without ``wanted``, none."""
        config = attrgetter("pretrained_cfg")(trunk)
        mean, deviation = (config["mean"], config["std"]) if wanted else ([0.0] * 3, [1.0] * 3)
        return cls(torch.tensor(mean), torch.tensor(deviation))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The image as the network wants it."""
        return (image - self.mean) / self.deviation
