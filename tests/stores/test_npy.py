from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsample.errors import StoreError
from streamsample.stores.base import Store
from tests.fake_stream import FakeStream
from tests.stores.contract import StoreContract


class TestNpy(StoreContract):
    suffix = ".npy"

    def read_as_others_do(self, path: Path) -> Any:
        return np.load(path, mmap_mode="r")

    def test_json_holds_manifest_and_names(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        items = json.loads((path.parent / "counts.npy.json").read_text())
        assert items["shape"] == [6, 21, 10]
        assert items["cell_names"][20] == "cell20"
        assert items["feature_names"] == [f"gene{t}" for t in range(10)]
        assert len(items["slabs"]) == 6

    def test_counts_without_manifest_are_refused(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        (path.parent / "counts.npy.json").unlink()
        with pytest.raises(StoreError, match=r"no manifest counts\.npy\.json beside it"):
            store.open(path)

    def test_manifest_of_other_counts_is_refused(self, store: Store, path: Path, stream: FakeStream) -> None:
        self.written(store, path, stream)
        np.save(path, np.zeros((2, 3, 4), dtype=np.uint16))
        with pytest.raises(StoreError, match=r"holds uint16 \(2, 3, 4\), its manifest says uint16 \(6, 21, 10\)"):
            store.open(path)
