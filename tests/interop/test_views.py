"""Counts in xarray, Dask, ArviZ and AnnData: the same counts, made when they are asked for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anndata
import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

import streamsample as ss
from streamsample.counts import Counts
from streamsample.errors import DataError, SelectionError
from streamsample.geometry import IndexArray, Selection
from streamsample.posterior import Posterior
from streamsample.stream import CountStream
from tests.posteriors import arrays, listed, named_posterior

SHAPE = (6, 26, 19)


class Watched(CountStream):
    """Notes what is made."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.made: list[tuple[int, int, int]] = []

    def _read(self, samples: IndexArray, cells: IndexArray, features: IndexArray) -> NDArray[Any]:
        self.made.append((samples.size, cells.size, features.size))
        return super()._read(samples, cells, features)


@pytest.fixture
def stream() -> Watched:
    part = Selection.of(SHAPE, cells=slice(2, 25), features=slice(0, None, 2))
    return Watched(named_posterior(SHAPE), seed=3, selection=part)


@pytest.fixture
def huge() -> CountStream:
    """628 G counts: whatever makes them all never ends."""
    return CountStream(Posterior.from_arrays(np.ones((1000, 40)), np.ones((1000, 40)), n_cells=15_700_000))


@pytest.fixture(params=["stream", ".h5", ".zarr"])
def counts(request: Any, stream: Watched, tmp_path: Path) -> Counts:
    return stream if request.param == "stream" else ss.open(ss.sample(stream, tmp_path / f"c{request.param}"))


def test_xarray_has_names_and_makes_what_is_asked_for(stream: Watched) -> None:
    view = stream.to_xarray()
    assert view.dims == ("sample", "cell", "feature")
    assert view.dtype == np.uint32
    part = view.sel(feature=["gene18", "gene4"], sample=[5, 1]).isel(cell=slice(None, None, -4))
    assert stream.made == []
    np.testing.assert_array_equal(part.values, stream[[5, 1], ::-4, [9, 2]])
    assert stream.made[0] == (2, 6, 2)
    assert float(view.sel(cell="cell7", feature="gene4", sample=3)) == stream[3, 5, 2]


def test_xarray_of_each_kind(counts: Counts, stream: Watched) -> None:
    xarray.testing.assert_equal(counts.to_xarray(), stream.to_xarray().astype(counts.dtype))


def test_without_names_the_coordinates_are_indices(tmp_path: Path) -> None:
    stream = CountStream(Posterior.from_arrays(**arrays(SHAPE))).select(samples=[1, 4], cells=slice(3, 9))
    for counts in (stream, ss.open(ss.sample(stream, tmp_path / "counts.npy"))):
        view = counts.to_xarray()
        assert view.sample.values.tolist() == [1, 4]
        assert view.cell.values.tolist() == [3, 4, 5, 6, 7, 8]
        assert view.feature.values.tolist() == list(range(19))


def test_dask_makes_chunk_by_chunk(stream: Watched) -> None:
    view = stream.to_dask(chunks=(2, 23, 5))
    assert stream.made == []
    assert view.chunks == ((2, 2, 2), (23,), (5, 5))
    total = view[:3].sum(axis=0).compute(scheduler="threads", num_workers=4)
    assert set(stream.made) == {(2, 23, 5), (1, 23, 5)}
    np.testing.assert_array_equal(total, stream[:3].sum(axis=0))


def test_dask_of_each_kind(counts: Counts, stream: Watched) -> None:
    view = counts.to_dask()
    assert isinstance(view, dask.array.Array)
    assert (view.shape, view.dtype) == (counts.shape, counts.dtype)
    np.testing.assert_array_equal(view.compute(), stream[:])


def test_what_is_huge_opens_at_once(huge: CountStream) -> None:
    view = huge.to_dask()
    assert view.numblocks == (1000, -(-15_700_000 // huge.piece[1]), 1)
    assert 100 * 2**20 < np.prod(huge.piece) * 4 <= 128 * 2**20
    np.testing.assert_array_equal(view[7, 99:105, 3].compute(), huge[7, 99:105, 3])
    tree = huge.to_datatree(chains=4)
    assert tree["posterior_predictive/counts"].shape == (4, 250, 15_700_000, 40)
    part = tree["posterior_predictive/counts"][3, ::100, 99:105, 3]
    np.testing.assert_array_equal(part, huge[750::100, 99:105, 3])
    assert "40" in repr(huge.to_xarray()) + repr(tree)


# -- ArviZ


@pytest.fixture
def observed() -> anndata.AnnData:
    """Counts of the stream's cells and features, and of others, in another order."""
    rng = np.random.default_rng(0)
    cells, features = rng.permutation(26), rng.permutation(19)
    return anndata.AnnData(
        csr_matrix(rng.poisson(1.0, (26, 19)).astype(np.float32)),
        obs=pd.DataFrame(index=[f"cell{n}" for n in cells]),
        var=pd.DataFrame(index=[f"gene{t}" for t in features]),
    )


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_tree_has_the_groups_of_arviz(
    counts: Counts, stream: Watched, observed: anndata.AnnData, on_disk: bool, tmp_path: Path
) -> None:
    observed.write_h5ad(tmp_path / "observed.h5ad")
    source = tmp_path / "observed.h5ad" if on_disk else observed
    stream.made.clear()
    tree = counts.to_datatree(chains=2, observed=source, posterior=stream.posterior)
    assert stream.made == []
    assert set(tree.children) == {"posterior_predictive", "observed_data", "constant_data"}
    predictive = tree["posterior_predictive/counts"]
    assert predictive.dims == ("chain", "draw", "cell", "feature")
    np.testing.assert_array_equal(predictive, stream[:].reshape(2, 3, 23, 10))
    np.testing.assert_array_equal(predictive.sel(chain=1, draw=[2, 0], cell="cell9"), stream[[5, 3], 7])
    expected = observed[listed(stream.names[0]), listed(stream.names[1])].to_df()
    np.testing.assert_array_equal(tree["observed_data/counts"], expected)
    assert float(tree["observed_data/counts"].sel(cell="cell9", feature="gene2")) == expected.loc["cell9", "gene2"]
    np.testing.assert_array_equal(tree["observed_data/counts"][[3, 1, 3], 4], expected.iloc[[3, 1, 3], 4])
    of = stream.posterior.cells
    np.testing.assert_array_equal(tree["constant_data/size_factor"], of.size_factor[2:25])
    assert tree["constant_data/group"].values.tolist() == [f"rep_{c}" for c in of.group[2:25]]
    assert tree["posterior_predictive"].attrs["inference_library"] == "streamsample"


def test_a_tree_may_have_one_sample_dimension(stream: Watched) -> None:
    tree = stream.to_datatree(sample_dims=("sample",), observed=np.ones((23, 10)))
    assert tree["posterior_predictive/counts"].dims == ("sample", "cell", "feature")
    assert float(tree["observed_data/counts"].sum()) == 230


def test_what_does_not_fit_a_tree_is_one_line(stream: Watched, observed: anndata.AnnData) -> None:
    with pytest.raises(SelectionError, match="6 samples do not divide into 4 chains"):
        stream.to_datatree(chains=4)
    with pytest.raises(SelectionError, match="sample_dims is"):
        stream.to_datatree(("a", "b", "c"))
    with pytest.raises(DataError, match=r"observed counts have shape \(3, 3\); they need \(23, 10\)"):
        stream.to_datatree(observed=np.ones((3, 3)))
    with pytest.raises(DataError, match="lacks 1 of 23 cells, 'cell2' first"):
        stream.to_datatree(observed=observed[observed.obs_names != "cell2"])
    with pytest.raises(SelectionError, match="the posterior has 4 cells"):
        stream.to_datatree(posterior=named_posterior((6, 4, 19)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_counts_of_a_tree_are_signed(dtype: str, tmp_path: Path) -> None:
    stream, path = CountStream(named_posterior(SHAPE), seed=3), tmp_path / "counts.h5"
    stored = ss.open(ss.sample(stream, path, plan=ss.plan(stream, path, dtype=dtype)))
    assert stored.dtype == dtype
    for dims in (("sample",), ("chain", "draw")):
        found = stored.to_datatree(dims)["posterior_predictive/counts"]
        assert found.dtype == (np.int64 if dtype == "uint32" else np.int32)
        np.testing.assert_array_equal(np.asarray(found).reshape(SHAPE), stream[:])
    assert stored.to_xarray().dtype == dtype


@pytest.mark.parametrize("kind", ["dist", "rootogram", "pit"])
def test_arviz_plots_a_tree(
    kind: str, stream: Watched, observed: anndata.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl
    import matplotlib.style

    mpl.use("agg")
    # Matplotlib 3.11 took this alias away, and deprecated a form, that the newest arviz-plots for Python 3.11 has.
    monkeypatch.setattr(matplotlib.style, "core", matplotlib.style, raising=False)
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    warnings.filterwarnings("ignore", r"\*c\* argument looks like a single numeric RGB")  # the rootogram's markers
    import arviz_plots

    tree = stream.to_datatree(chains=2, observed=observed)
    if kind == "dist":
        arviz_plots.plot_ppc_dist(
            tree, kind="ecdf", coords={"feature": ["gene2", "gene4"]}, num_samples=4, backend="matplotlib"
        )
    else:  # which take one feature, and refuse what is not signed and whole
        getattr(arviz_plots, f"plot_ppc_{kind}")(tree.sel(feature="gene4"), backend="matplotlib")
    assert all(axes.has_data() for axes in mpl.pyplot.gcf().axes)
    assert mpl.pyplot.gcf().axes
    mpl.pyplot.close("all")


# -- AnnData


def test_anndata_has_sparse_layers_and_names(counts: Counts, stream: Watched) -> None:
    table = counts.to_anndata(samples=[0, 5])
    assert list(table.layers) == ["ppc_0", "ppc_5"]
    assert table.obs_names.tolist() == listed(stream.names[0])
    assert table.var_names.tolist() == listed(stream.names[1])
    assert isinstance(table.layers["ppc_5"], csr_matrix)
    np.testing.assert_array_equal(table.layers["ppc_5"].toarray(), stream[5])


def test_anndata_of_a_stream_knows_its_cells(stream: Watched) -> None:
    obs = stream.to_anndata(slice(1)).obs
    np.testing.assert_array_equal(obs["size_factor"], stream.posterior.cells.size_factor[2:25])
    assert obs["group"].tolist() == [f"rep_{c}" for c in stream.posterior.cells.group[2:25]]


# -- export


def test_export_writes_what_other_tools_read(counts: Counts, stream: Watched, tmp_path: Path) -> None:
    chosen = stream[1:5:2]
    for suffix in (".h5ad", ".nc", ".npy"):
        counts.export(tmp_path / f"x{suffix}", samples="1:5:2")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy", mmap_mode="r"), chosen)
    table = anndata.read_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_array_equal(table.layers["ppc_3"].toarray(), chosen[1])
    with xarray.open_dataset(tmp_path / "x.nc", engine="h5netcdf") as found:
        expected = stream.to_xarray()[1:5:2].astype(counts.dtype)
        xarray.testing.assert_equal(found["counts"].load(), expected)
    assert sorted(path.name for path in tmp_path.glob("x*")) == ["x.h5ad", "x.nc", "x.npy"]


def test_export_in_pieces_gives_the_same_file(stream: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsample.counts.PIECE_NBYTES", 8 * 40)
    stream.export(tmp_path / "x.npy")
    stream.export(tmp_path / "x.nc")
    assert max(cells for _, cells, _ in stream.made) == 8
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), stream[:])
    with xarray.open_dataset(tmp_path / "x.nc", engine="h5netcdf") as found:
        np.testing.assert_array_equal(found["counts"], stream[:])


# -- the engine


def test_a_virtual_dataset_opens_in_xarray(stream: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsample.counts.PIECE_NBYTES", 8 * 40)
    path = tmp_path / "counts.virtual.h5"
    ss.save_virtual(stream, path)
    expected = stream.to_xarray()
    with xarray.open_dataset(path, engine="streamsample") as found:
        assert found["counts"].chunks is None
        xarray.testing.assert_equal(found["counts"], expected)
    with xarray.open_dataset(path, engine="streamsample", chunks={}) as found:
        assert found["counts"].chunks == ((1,) * 6, (8, 8, 7), (10,))
        np.testing.assert_array_equal(found["counts"].mean("sample"), stream[:].mean(axis=0))
    with xarray.open_dataset(path, engine="streamsample", drop_variables="counts") as found:
        assert set(found.variables) == {"sample", "cell", "feature"}
