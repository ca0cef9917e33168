"""A posterior that was saved with ``torch.save``: a dict of tensors, as bayesDREAM writes it."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsample.array_source import ArraySource
from streamsample.cells import Origin, make_cells
from streamsample.errors import PosteriorError
from streamsample.interop.foreign_cells import Described, describe_cells
from streamsample.parameters import Names, list_names, names_array
from streamsample.posterior import Posterior

if TYPE_CHECKING:
    from anndata import AnnData

_log = logging.getLogger(__name__)

Array = NDArray[Any]

SAMPLES = "posterior_samples"  # of a file that has more beside the tensors


def read_torch(
    path: str | os.PathLike[str],
    for_cells: str | os.PathLike[str] | AnnData | None = None,
    *,
    n_cells: int | None = None,
    group_key: str | list[str] | None = None,
    sum_factor_key: str | None = None,
    layer: str | None = None,
) -> Posterior:
    """Read a posterior of the technical model from a file of tensors; nothing in the file is executed.

    Parameters
    ----------
    path
        A dict of tensors, or one that has it as ``posterior_samples``: ``mu_ntc`` [S, T]; ``phi_y`` or ``o_y`` [S, T]
        with ``phi = 1 / o_y**2``; ``alpha_y_mult`` or ``alpha_y`` [S, C, T], ones if absent. Axes of length 1 between
        samples and features are fine; so are parameters that still ask for gradients, tensors of 16 bits, and arrays
        of NumPy. Features with NaN are left out, which is said: their counts are 0, and `Posterior.fitted` is False.
    for_cells
        AnnData that describes the cells; see `describe_cells`, also for what follows.
    n_cells
        Their number, where all have size factor 1 and group 0.
    group_key, sum_factor_key, layer
        Where `for_cells` has what.

    Raises
    ------
    PosteriorError
        If the file can't be read without running code, or tensors are missing or do not agree.
    DataError
        If `for_cells` does not serve.
    """
    samples, names = _load(Path(path))
    mu, phi, alpha = _tensors(samples, str(path))
    if names is not None and names.size != mu.shape[1]:
        raise PosteriorError(f"{path} names {names.size} features, its draws have {mu.shape[1]}")
    if for_cells is None:
        if n_cells is None:
            raise PosteriorError(f"{path} does not say which cells it is for; give for_cells= or n_cells=")
        found = Described(make_cells(None, None, n_cells, None), Origin(), names, None)
    else:
        facts = ArraySource(mu, phi, alpha, names).facts()
        found = describe_cells(for_cells, facts, group_key=group_key, sum_factor_key=sum_factor_key, layer=layer)
    fitted = _leave_out_nan(mu, phi, alpha, found.feature_names)
    draws = ArraySource(mu, phi, alpha, found.feature_names, found.group_names, fitted)
    return Posterior(draws, found.cells, found.origin)


def _load(path: Path) -> tuple[dict[str, Any], Names | None]:
    """Read the tensors, and the features' names if the file has them."""
    import torch

    if not path.is_file():
        raise PosteriorError(f"{path}: there is no such file")
    try:
        with torch.serialization.safe_globals(_numpy_parts()):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line), None)
        if reason is None:
            raise PosteriorError(f"{path} is no file of torch.save") from None
        raise PosteriorError(
            f"{path} holds more than tensors and could run code when it is read, so it is refused ({reason[:160]}); "
            "save the dict of tensors alone, with torch.save"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise PosteriorError(f"{path} is no file of torch.save ({str(error).splitlines()[0]})") from None
    if not isinstance(found, dict):
        raise PosteriorError(f"{path} holds a {type(found).__name__}, not a dict of tensors")
    samples, names = found.get(SAMPLES, found), found.get("feature_names")
    return samples, names_array(names) if isinstance(names, list | tuple | np.ndarray) else None


def _numpy_parts() -> list[Any]:
    """What a pickled array or number of NumPy is made of; losses and names are often such, and none of it runs code."""
    from numpy._core import multiarray

    makers = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")  # of NumPy 1 and 2
        for name in ("_reconstruct", "scalar")
    ]
    kinds = [type(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4", "?", "U1", "O")]
    return [*makers, *kinds, np.ndarray, np.dtype]


def _tensors(samples: dict[str, Any], label: str) -> tuple[Array, Array, Array]:
    """Mean (S, T), total count (S, T) and alpha (S, C, T)."""

    def first_of(*names: str) -> tuple[str, Array] | None:
        found = ((name, _array(samples.get(name))) for name in names)
        return next(((name, array) for name, array in found if array is not None), None)

    mu, spread, alpha = first_of("mu_ntc"), first_of("phi_y", "o_y"), first_of("alpha_y_mult", "alpha_y")
    if mu is None or spread is None:
        missing = "mu_ntc" if mu is None else "phi_y or o_y"
        raise PosteriorError(f"{label} has no tensor {missing}; it holds {list_names(map(str, samples))}")
    mean, phi = _flat(*mu), _flat(*spread)
    if spread[0] == "o_y":
        with np.errstate(divide="ignore"):
            phi = np.reciprocal(np.square(phi))
    factors = np.ones((len(mean), 1, mean.shape[1]), mean.dtype) if alpha is None else alpha[1]
    if phi.shape != mean.shape or factors.ndim != 3 or (len(factors), factors.shape[2]) != mean.shape:
        raise PosteriorError(
            f"{label}: mu_ntc {mean.shape}, {spread[0]} {phi.shape} and alpha {factors.shape} are not [S, T], [S, T] "
            "and [S, C, T]"
        )
    return mean.copy(), phi.copy(), factors.copy()


def _array(values: Any) -> Array | None:
    """Values of a tensor, or of an array, in float32 at least; None if it is neither."""
    import torch

    if isinstance(values, torch.Tensor):
        narrow = values.dtype in (torch.float16, torch.bfloat16)  # NumPy has no bfloat16
        return np.asarray((values.detach().float() if narrow else values.detach()).numpy())
    if not isinstance(values, np.ndarray):
        return None
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _flat(name: str, array: Array) -> Array:
    """Drop axes of length 1 between samples and features."""
    if array.ndim < 2 or array.size != len(array) * array.shape[-1]:
        raise PosteriorError(f"{name} has shape {array.shape}, it needs [S, T]")
    return array.reshape(len(array), array.shape[-1])


def _leave_out_nan(mu: Array, phi: Array, alpha: Array, names: Names | None) -> NDArray[np.bool_]:
    """(T,) which features have all their draws; the others get values from which the stream makes zeros."""
    lost = np.isnan(mu).any(axis=0) | np.isnan(phi).any(axis=0) | np.isnan(alpha).any(axis=(0, 1))
    mu[:, lost], phi[:, lost], alpha[:, :, lost] = 0.0, 1.0, 1.0
    if lost.any():
        listed = np.flatnonzero(lost) if names is None else names[lost]
        _log.warning(
            "%d of %d features have NaN and are left out, their counts are 0: %s; Posterior.fitted (in the file: "
            "fitted) is False for each",
            int(lost.sum()),
            lost.size,
            list_names(map(str, listed)),
        )
    return np.asarray(~lost)
