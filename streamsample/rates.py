"""Rates that forecasts of time are made from: measured on two cores of an AMD EPYC (AVX-512) with ext4.

Absolute figures do not carry over to other machines, ratios roughly do; so whoever shows a forecast says where its
rates come from, and a run tells its own speed after the first slabs.
"""

from __future__ import annotations

import numpy as np

from streamsample.parameters import FloatArray

SOURCE = "rates of docs/benchmarks.md, the first slabs will tell"

# docs/benchmarks.md, "Throughput against mean": counts/s of one thread, over features of about one mean.
_MEANS = (0.01, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4)
_COUNTS_PER_SECOND = (787e6, 728e6, 351e6, 89.3e6, 45.5e6, 56.6e6, 56.2e6, 67.3e6, 68.2e6)

DESIGN = 2.5
"""Times that a count takes longer with a design of eight columns: 1.1 with means of thousands, 3 with small ones."""

ENCODE = 344e6
"""Counts/s that a thread encodes: Blosc, bits shuffled along the cells, zstd 1."""
DECODE = 800e6
"""Counts/s that a thread decodes."""
WRITE = 1.0e9
"""Bytes/s onto the disk, synced."""
READ = 3.1e9
"""Bytes/s from the disk, in order."""
SCATTERED_READS = 17_400
"""Reads/s of a page each, from places all over a file that is not in memory."""
SCATTERED_SPAN = 1.1e9
"""Bytes/s of a file's length that scattered reads cover at most: where they are close, whole parts are read ahead."""


def seconds_per_count(mean: FloatArray) -> FloatArray:
    """Seconds that a thread needs to make a count of each mean, between the measured means on a log-log scale."""
    within = np.clip(mean, _MEANS[0], _MEANS[-1])
    return np.exp(-np.interp(np.log(within), np.log(_MEANS), np.log(_COUNTS_PER_SECOND)))
