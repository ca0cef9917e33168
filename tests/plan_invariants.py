"""What every plan must keep to, whatever it was made for."""

from __future__ import annotations

import numpy as np

from streamsample.sizing import Plan


def check_plan(plan: Plan) -> None:
    """Fail unless the plan fits its budget and its slabs hold every count exactly once, in file order."""
    nsamples, ncells, nfeatures = plan.shape
    itemsize = np.dtype(plan.dtype).itemsize
    assert 0 < plan.peak_nbytes <= plan.allowed_nbytes
    assert plan.peak_nbytes == sum(quantity.nbytes for quantity in plan.quantities)
    assert all(quantity.nbytes >= 0 and quantity.name and quantity.why for quantity in plan.quantities)
    assert len({quantity.name for quantity in plan.quantities}) == len(plan.quantities)
    assert 1 <= plan.slab_samples <= plan.minibatch <= nsamples
    assert plan.slab_samples == 1 or plan.slab_cells == ncells
    assert plan.slab_unit == ((1, 4) if plan.chunking is None else plan.chunking.unit)
    assert plan.nfiles >= 1
    assert [way.name for way in plan.ways()] == ["raw", "compressed", "virtual", "summary only"]
    assert all(way.nbytes > 0 and way.write_seconds > 0 and way.gene_seconds > 0 for way in plan.ways())
    assert plan.seconds > 0
    assert plan.output_nbytes == nsamples * ncells * nfeatures * itemsize
    assert plan.threads >= 1
    assert plan.explain()

    rows_done = 0  # (s, n) in C order
    samples_done = 0
    for s0, s1 in plan.minibatches():
        assert s0 == samples_done
        assert 0 < s1 - s0 <= plan.minibatch
        for slab in plan.slabs(s0, s1):
            assert slab.s0 * ncells + slab.n0 == rows_done
            assert slab.nsamples == 1 or slab.ncells == ncells
            # No quad, and no chunk, is in two slabs.
            assert all(s % plan.slab_unit[0] == 0 or s == nsamples for s in (slab.s0, slab.s1))
            assert all(n % plan.slab_unit[1] == 0 or n == ncells for n in (slab.n0, slab.n1))
            assert min(slab.nsamples, slab.ncells) > 0
            assert slab.nsamples * slab.ncells * nfeatures * itemsize <= plan.slab_nbytes
            rows_done += slab.nsamples * slab.ncells
        samples_done = s1
        assert rows_done == s1 * ncells
    assert samples_done == nsamples
