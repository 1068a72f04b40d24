"""A trunk of timm, with its published weights or without."""

from collections.abc import Mapping
from typing import Any, cast

import timm
from timm.models import PretrainedCfg
from torch import nn

from emoca_core.errors import MissingAssetError, ParamsError, unknown_name
from emoca_core.weights.hub import answers, in_cache


def create_trunk(name: str, pretrained: bool, options: Mapping[str, Any] | None = None) -> nn.Module:
    """A network without its classifier: images to pooled features.

    Args:
        name: Name of the network in timm.
        pretrained: With its published weights.
        options: Arguments of the network itself, e.g. ``img_size`` of a transformer.

    Raises:
        UnknownNameError: timm has no such network.
        ParamsError: The network has no such option, or cannot be built with it.
        MissingAssetError: Its published weights are neither in the cache nor reachable.
    """
    if not timm.is_model(name):
        raise unknown_name("timm network", name, timm.list_models())
    known = _file_of(name) if pretrained else {}
    try:
        trunk: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=0, pretrained_cfg_overlay=known, **(options or {})
        )
    except (TypeError, AssertionError) as error:
        if not options:
            raise
        raise ParamsError(f"timm's '{name}' cannot be built with the options {dict(options)}: {error}") from None
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise _missing(name, str(error).splitlines()[0]) from None
    return trunk


def _file_of(name: str) -> dict[str, str]:
    """Where the published weights lie, if they were downloaded before: then nobody is asked for them.

    Raises:
        MissingAssetError: They were not, and the hub is silent.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or config.custom_load or not config.hf_hub_id:
        return {}
    repository, _, revision = config.hf_hub_id.partition("@")
    file = in_cache(repository, _names_of(config), revision or None)
    if file is not None and file.suffix == ".safetensors":
        return {"file": str(file)}
    if file is None and not answers(repository):
        raise _missing(name, "the Hugging Face hub does not answer")
    return {}


def _names_of(config: PretrainedCfg) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")


def _missing(name: str, reason: str) -> MissingAssetError:
    config = timm.get_pretrained_cfg(name)
    licence, source = (config.license, config.hf_hub_id) if config else (None, None)
    return MissingAssetError(
        f"timm's weights of '{name}' (licence: {licence or 'see its model card'}) are neither in the cache nor "
        f"reachable: {reason}\n  Connect once, or copy the files of '{source or name}' into "
        "the cache that HF_HOME names, or set weights: random to train from scratch."
    )


def head_width(trunk: nn.Module) -> int:
    """Length of the pooled features; some networks have a layer between pooling and classifier."""
    return int(cast(Any, trunk).head_hidden_size)
