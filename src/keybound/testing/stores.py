"""The promises of a store, as tests to inherit: whoever writes a store runs them over it.

    class TestMyStore(StoreContract):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "keys")

        def make_second(self, store):
            return MyStore(store.location)

Each test gets a database that nobody ever opened. ``history_max`` is how many revisions of its
change log the store keeps, 10,000 unless the class says otherwise; with ``counts = False`` it keeps
no usage of keys.
"""

from __future__ import annotations

from keybound.testing.store_commits import CommitContract
from keybound.testing.store_opening import OpeningContract
from keybound.testing.store_reads import ReadContract
from keybound.testing.store_syncs import SyncContract
from keybound.testing.store_usage import UsageContract


class StoreContract(OpeningContract, CommitContract, SyncContract, ReadContract, UsageContract):
    """Inherit, say how a store is made and how it is reached a second time, and run pytest."""
