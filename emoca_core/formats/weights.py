"""Published network weights, recognised by tensors that only one network has."""

from emoca_core.formats.content import Content
from emoca_core.formats.table import Arrays, Format

_BOOKKEEPING = ("opt", "optimizer", "sched", "lr_scheduler", "callbacks", "loops")


def _tensors(content: Content) -> Arrays:
    """Every tensor under its flat published name, without the state of the training."""
    return {
        name: content.array(name)
        for name in content.shapes
        if not name.split(".")[0].startswith(_BOOKKEEPING) and "BFM" not in name
    }


def _weights(asset: str, **entries: str) -> Format:
    return Format(
        name=f"weights_{asset}",
        assets=(asset,),
        entries={name.replace("__", "."): shape for name, shape in entries.items()},
        convert=_tensors,
        containers=("weights",),
    )


FORMATS: tuple[Format, ...] = ()
