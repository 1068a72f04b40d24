"""A trunk of timm, with its published weights or without."""

from typing import Any, cast

import timm
from torch import nn

from emoca_core.errors import MissingAssetError, unknown_name


def create_trunk(name: str, pretrained: bool) -> nn.Module:
    """A network without its classifier: images to pooled features.

    Raises:
        UnknownNameError: timm has no such network.
        MissingAssetError: Its published weights are neither in the cache nor reachable.
    """
    if not timm.is_model(name):
        raise unknown_name("timm network", name, timm.list_models())
    try:
        trunk: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0)
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


def feature_size(trunk: nn.Module) -> int:
    """Length of the pooled features; some networks have a layer between pooling and classifier."""
    return int(cast(Any, trunk).head_hidden_size)
