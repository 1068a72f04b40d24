"""Network weights: recognised by tensors that only one network has, checked by the component that will read them."""

from collections.abc import Mapping

from emoca_core.formats.content import Content
from emoca_core.formats.table import Arrays, Format, Use

WRAPPERS = ("", "module.", "state_dict.", "state_dict.module.")
"""How the same network is wrapped by different ways to save it."""
_BOOKKEEPING = ("opt_", "opt.", "optimizer", "sched_", "lr_scheduler", "callbacks.", "loops.")


def network_formats(
    asset: str,
    entries: Mapping[str, str],
    *used_by: Use,
    prefixes: tuple[str, ...] = ("",),
    switches: tuple[str, ...] = (),
) -> tuple[Format, ...]:
    """Formats of one network's weights, one for each prefix that its names may have.

    Args:
        asset: Name in the catalogue.
        entries: A few tensors and their shapes, enough to tell the network from all others.
        used_by: Components that read the file.
        prefixes: Leading parts of all names.
        switches: Settings of the training that the converted file keeps.
    """
    return tuple(
        Format(
            name=f"weights_{asset}",
            assets=(asset,),
            entries={f"{prefix}{name}": shape for name, shape in entries.items()},
            convert=_tensors,
            containers=("weights",),
            used_by=used_by,
            switches=switches,
        )
        for prefix in prefixes
    )


def _tensors(content: Content) -> Arrays:
    """Every tensor under its flat published name, without the state of the training."""
    return {name: content.array(name) for name in content.shapes if not name.startswith(_BOOKKEEPING)}
