"""Files of every release stay readable: these were written by version 0.1.0, and are never written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamsample.geometry import Selection, Slab
from streamsample.stores import describe, store_for
from streamsample.verifier import check
from tests.fake_stream import FakeStream, fake_posterior

GOLDEN = Path(__file__).parent / "golden"
POSTERIOR = fake_posterior((3, 8, 5))
STREAM = FakeStream(POSTERIOR, seed=2**63, chosen=Selection.of((3, 8, 5), cells=[0, 1, 2, 3, 4, 5, 7]))


@pytest.mark.parametrize(
    ("name", "checksum", "nchecks"),
    [
        ("counts-1.npy", "xxh3_64", 6),
        ("counts-1.h5", "xxh3_64", 6),
        ("sealed-1.npy", "crc32c", 3),
        ("sealed-1.h5", "crc32c", 3),
    ],
)
def test_file_of_format_1_is_read_and_checked(name: str, checksum: str, nchecks: int) -> None:
    path = GOLDEN / name
    facts = describe(path)
    assert (facts.shape, facts.dtype, facts.seed, facts.complete) == ((3, 7, 5), "uint16", 2**63, True)
    assert facts.streamsample_version == "0.1.0"
    assert facts.selection["cell_index"] == [0, 1, 2, 3, 4, 5, 7]
    assert facts.posterior_digest == "87fded9a9ecfbf25974b7a864a1ccf42ea0dad8ac8b856bd8d413aa93d31fd58"
    stored = store_for(path).open(path)
    stored.check_frame()
    assert stored.manifest.checksum == checksum
    assert len(stored.manifest.checks) == nchecks
    np.testing.assert_array_equal(stored.read(Slab(0, 3, 0, 7)), STREAM.counts())
    assert check(stored, STREAM, path).counts_compared == 3 * 7 * 5  # type: ignore[arg-type]


def test_digest_of_a_posterior_never_changes() -> None:
    assert POSTERIOR.digest() == describe(GOLDEN / "counts-1.h5").posterior_digest
