"""DEKR's maps as standard operators: as `grouppose.models.hrnet_bottomup.export`."""

from grouppose.models.hrnet_bottomup.export import (
    Exportable,
    beside,
    everybody,
    fitting_size,
    free_axes,
    people,
)

__all__ = ["Exportable", "beside", "everybody", "fitting_size", "free_axes", "people"]
