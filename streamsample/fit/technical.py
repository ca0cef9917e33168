"""The technical model of observed counts: groups of cells that differ by a factor in each feature."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamsample.budget import Budget, process_nbytes
from streamsample.cells import Origin
from streamsample.errors import DataError
from streamsample.fit.depth import Depth
from streamsample.fit.nodes import node_count
from streamsample.fit.observations import Observations, counted_in_all_groups, fit_facts, reference_group
from streamsample.geometry import IndexArray
from streamsample.interop.counts import as_counts, read_counts
from streamsample.interop.labels import choose_cells, group_labels, keys, number_labels
from streamsample.interop.table import check_unique, open_table
from streamsample.parameters import Names, names_array
from streamsample.posterior import Posterior

if TYPE_CHECKING:
    import torch
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    from streamsample.fit.convergence import FitReport
    from streamsample.fit.draw import Draws
    from streamsample.fit.extreme import OnExtreme
    from streamsample.fit.model import Technical
    from streamsample.fit.plan import FitPlan
    from streamsample.fit.svi import Fitted, Progress


@dataclass(eq=False, repr=False)
class TechnicalModel:
    """Observed counts of N cells in T features, and the technical groups of the cells.

    Counts are negative binomial with mean ``mu * alpha[group] * sum_factor`` and total count ``phi``; the reference
    group's alpha is 1. Make one with `from_anndata` or `from_arrays`, then call `fit_technical`.
    """

    counts: csr_matrix
    """(N, T) int32."""
    group: IndexArray
    """(N,) in [0, C)."""
    group_names: Names
    """(C,)."""
    reference: int
    """The group whose alpha is 1."""
    depth: Depth
    """What is known of the cells' size factors."""
    cell_names: Names | None = None
    """(N,) or None."""
    feature_names: Names | None = None
    """(T,) or None."""
    group_key: tuple[str, ...] = ()
    """Columns of ``obs`` that name the groups."""
    layer: str | None = None
    """Layer that holds the counts; None is ``X``."""
    report: FitReport | None = field(default=None, init=False)
    """How the latest fit went."""

    def __repr__(self) -> str:
        """Tell the sizes, the columns that name the groups, and whether it was fitted."""
        ncells, nfeatures = self.counts.shape
        groups = f"{self.group_names.size} group{'s' * (self.group_names.size != 1)}"
        by = f" by {', '.join(self.group_key)}" if self.group_key else ""
        fitted = "not fitted" if self.report is None else f"fitted in {self.report.steps:,} steps"
        return f"<TechnicalModel {ncells:,} cells x {nfeatures:,} features, {groups}{by}, {fitted}>"

    @classmethod
    def from_anndata(
        cls,
        source: str | os.PathLike[str] | AnnData,
        group_key: str | Sequence[str],
        reference: str | None = None,
        where: str | None = None,
        features: Sequence[str] | None = None,
        layer: str | None = None,
    ) -> TechnicalModel:
        """Take counts and groups from an AnnData object, or from an ``.h5ad`` file of which only these are read.

        Parameters
        ----------
        source
            The object, or the file's path.
        group_key
            Column of ``obs`` that names each cell's technical group; of several the values are joined by ``|``.
        reference
            Name of the group whose alpha is 1; the largest if left out.
        where
            Condition on the columns of ``obs``, as in ``pandas.DataFrame.query``: ``'target == "non-targeting"'``.
        features
            Names of the features to take, in this order; all if left out.
        layer
            Layer that holds the counts; ``X`` if left out.

        Raises
        ------
        DataError
            If it is not an AnnData file, a column, group, layer or feature is not there, names are not unique, values
            are not counts, or nothing is selected.
        """
        with open_table(source) as table:
            check_unique(table.features, table.label, "feature names", "var_names_make_unique()")
            chosen = choose_cells(table.obs, where, table.label)
            names = table.features if features is None else _wanted(features, table.label)
            columns = None if features is None else table.positions(names)
            obs, group_key = table.obs[chosen], keys(group_key)
            group, group_names = number_labels(group_labels(obs, group_key, table.label))
            counts = read_counts(table, layer, chosen, columns)
            return cls(
                counts=counts,
                group=group,
                group_names=group_names,
                reference=reference_group(reference, group, group_names),
                depth=Depth(_totals(counts), table.label, table.cells[chosen], obs=obs),
                cell_names=table.cells[chosen],
                feature_names=names,
                group_key=group_key,
                layer=layer,
            )

    @classmethod
    def from_arrays(
        cls,
        counts: Any,
        group: ArrayLike | None = None,
        *,
        sum_factor: ArrayLike | None = None,
        reference: str | int | None = None,
        cell_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> TechnicalModel:
        """Take counts and groups from arrays.

        Parameters
        ----------
        counts
            (N, T) cells x features, a NumPy array or a SciPy sparse one; floats are fine if they are whole.
        group
            (N,) label of each cell's technical group, text or integers; one group for all if left out.
        sum_factor
            (N,) positive size factors; from the totals if left out.
        reference
            Label of the group whose alpha is 1; the largest if left out.
        cell_names, feature_names
            (N,) and (T,) names; features must differ.

        Raises
        ------
        DataError
            If values are not counts, or sizes disagree.
        """
        matrix = as_counts(counts, "counts")
        ncells, nfeatures = matrix.shape
        labels = np.full(ncells, "all") if group is None else np.asarray(group)
        given = None if sum_factor is None else np.asarray(sum_factor, dtype=np.float64)
        for what, values, size in (
            ("group", labels, ncells),
            ("sum_factor", given, ncells),
            ("cell_names", names_array(cell_names), ncells),
            ("feature_names", names_array(feature_names), nfeatures),
        ):
            if values is not None and values.shape != (size,):
                raise DataError(f"{what} has shape {values.shape} but counts are {ncells} cells x {nfeatures} features")
        if 0 in matrix.shape:
            raise DataError(f"there is nothing to fit: counts are {ncells} cells x {nfeatures} features")
        features = names_array(feature_names)
        if features is not None:
            check_unique(features, "counts", "feature names", "give each another name")
        numbers, group_names = number_labels(labels)
        return cls(
            counts=matrix,
            group=numbers,
            group_names=group_names,
            reference=reference_group(None if reference is None else str(reference), numbers, group_names),
            depth=Depth(_totals(matrix), "counts", names_array(cell_names), given=given),
            cell_names=names_array(cell_names),
            feature_names=features,
        )

    def fit_technical(
        self,
        sum_factor_col: str | None = "sum_factor",
        tolerance: float = 1e-4,
        nsamples: int = 1000,
        niters: int | None = None,
        lr: float | None = None,
        minibatch_size: int | None = None,
        safety_factor: float | None = None,
        device: str = "cpu",
        seed: int = 0,
        *,
        on_extreme: OnExtreme = "error",
        budget: Budget | None = None,
        progress: Progress | None = None,
    ) -> Posterior:
        """Fit the technical model and draw its parameters; no counts are drawn.

        A feature that has no count in one of the groups is left out: ``fitted`` is False, and its parameters are
        ``mu = 0, alpha = 1, phi = 1``, so that the stream gives zeros and never counts that nothing speaks for.

        Parameters
        ----------
        sum_factor_col
            Column of ``obs`` with the size factors. Without a column of the default name, or with None, a cell's is its
            total over the mean total, which is said. Size factors given to `from_arrays` come first.
        tolerance
            Stop when the smoothed loss (weight 0.05 for the newest) has stayed within this fraction of itself for 100
            steps; 0 runs every step, and so does a fit that takes some of the cells at a time. How it went is told in a
            line and kept in `report`.
        nsamples
            S, draws to make.
        niters
            Most steps; 400 if left out.
        lr
            Learning rate of the first step, 0.05 if left out; it falls to a fiftieth over `niters` steps.
        minibatch_size
            Draws in work at a time, in whole blocks of 8; chosen by the memory estimate if left out. Changes no draw.
        safety_factor
            Fraction of the memory budget to plan with. If the counts of all cells do not fit, each step takes some
            cells, drawn anew; a line says so.
        device
            Where torch computes.
        seed
            Of the fit and of the draws; global random states are neither used nor changed.
        on_extreme
            What to do with draws outside the stream's domain, such as an alpha of 2**100: ``"error"``, which is the
            default because the others change the result, ``"drop-feature"`` (treat it as if it had no counts) or
            ``"clip"`` (move these draws to the border).
        budget
            Memory to plan with; detected if left out.
        progress
            Called with (step, steps, loss).

        Raises
        ------
        BudgetError
            If the fit does not fit into the memory; says what would.
        DataError
            If size factors are not positive numbers, or the column is not there.
        FitError
            If a setting makes no sense, no feature can be fitted, the loss becomes NaN, or a draw is extreme.
        """
        from streamsample.fit import device as devices
        from streamsample.fit import draw, extreme, plan, settings

        where = settings.check(nsamples, seed, device, on_extreme)
        size_factor, key = self.depth.size_factors(sum_factor_col)
        seen = counted_in_all_groups(self.counts, self.group, self.group_names, self._names())
        nodes = node_count(size_factor, self.group, self.group_names.size)
        facts = fit_facts(self.counts, seen, self.group_names.size, nsamples, nodes)
        limits = Budget.detect() if budget is None else budget
        shape = facts.ncells, facts.nfeatures, facts.ngroups
        sizes = settings.size_draws(shape, nsamples, minibatch_size, safety_factor, budget)
        made = plan.decide(
            facts,
            limits,
            baseline=process_nbytes(),
            threads=settings.cpus(limits),
            minibatch_size=minibatch_size,
            most_draws=sizes.most,
            safety_factor=safety_factor,
            device=devices.statement(where),
        )
        made.tell()
        technical, fitted = self._fit(
            made, seen, size_factor, where, niters=niters, lr=lr, tolerance=tolerance, seed=seed, progress=progress
        )
        self.report = fitted.report
        fitted.report.tell()
        sizes.tell(made.minibatch, nsamples)
        draws = draw.draw(
            technical, fitted.sites, nsamples, minibatch=made.minibatch, parallel=sizes.parallel, seed=seed
        )
        largest = np.zeros(self.group_names.size)
        np.maximum.at(largest, self.group, size_factor)
        keep = extreme.meet(draws, largest, self.reference, self._names()[seen], on_extreme)
        seen[seen] = keep
        return self._posterior(draws.spread(keep, seen), size_factor, seen, key)

    def _fit(
        self, made: FitPlan, seen: NDArray[np.bool_], size_factor: NDArray[np.float64], where: torch.device, **how: Any
    ) -> tuple[Technical, Fitted]:
        """Fit the features `seen` as planned; what the counts take on the way is given back at the end."""
        from streamsample.fit import model, start, subsample, svi

        counts = self.counts if seen.all() else self.counts[:, seen]
        data = Observations(counts, self.group, size_factor, self.group_names.size, self.reference)
        begin = start.start_at(data)
        technical = model.Technical.of(begin, data.ngroups, data.reference, where)
        how["tolerance"] = 0.0 if made.subsampled else how["tolerance"]  # chance would be taken for change
        observed = subsample.likelihood(data, where, made.cells, made.threads)
        return technical, svi.fit(technical, observed, begin, threads=observed.threads, **how)

    def _names(self) -> Names:
        """(T,) names of the features, or their numbers."""
        return np.arange(self.counts.shape[1]).astype(np.str_) if self.feature_names is None else self.feature_names

    def _posterior(
        self, draws: Draws, size_factor: NDArray[np.float64], fitted: NDArray[np.bool_], key: str | None
    ) -> Posterior:
        """Put draws, cells and names together."""
        scale = float(self.depth.totals.sum() / size_factor.sum())
        return Posterior.from_arrays(
            draws.mu,
            draws.phi,
            draws.alpha,
            size_factor=size_factor,
            group=self.group,
            cell_names=self.cell_names,  # type: ignore[arg-type]
            feature_names=self.feature_names,  # type: ignore[arg-type]
            group_names=self.group_names,  # type: ignore[arg-type]
            fitted=fitted,
            origin=Origin(scale, self.group_key, key, self.layer),
        )


def _totals(counts: csr_matrix) -> NDArray[np.float64]:
    """(N,) total count of each cell."""
    return np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()


def _wanted(features: Sequence[str], label: str) -> Names:
    """(T,) names of the features asked for."""
    if isinstance(features, str):
        features = [features]
    names = np.asarray([str(name) for name in features], dtype=np.str_)
    if not names.size:
        raise DataError(f"{label}: features= is empty; leave it out to take all")
    check_unique(names, label, "of the features asked for", "name each once")
    return names
