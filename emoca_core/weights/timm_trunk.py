"""A trunk of timm, with its published weights or without."""

from collections.abc import Mapping
from typing import Any, cast

import timm
from torch import nn

from emoca_core.errors import MissingAssetError, ParamsError, unknown_name


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
    try:
        trunk: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, **(options or {}))
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
    return trunk


def head_width(trunk: nn.Module) -> int:
    """Length of the pooled features; some networks have a layer between pooling and classifier."""
    return int(cast(Any, trunk).head_hidden_size)
