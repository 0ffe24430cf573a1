"""The part of the store contract that is about reading: whole chains, exact matches, odd values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keybound.core.chain import CHAIN_MAX
from keybound.core.effects import ListNodes, LoadByDigest, LoadNode, Put, Row, Sync
from keybound.core.errors import RecordCorruptError
from keybound.core.limits import Limits
from keybound.testing.records import a_digest, a_group, a_key, commit, load, new, row_of
from keybound.testing.store_kit import StoreKit

if TYPE_CHECKING:
    from keybound.stores import Store

MOMENT = datetime(2026, 3, 29, 2, 30, 0, 123_456, tzinfo=UTC)

ODD_MEMBERS: dict[str, dict[str, Any]] = {
    "unicode": {"name": "Ключ 鍵 🔑 e\u0301 \u202e'\"; DROP TABLE keybound_nodes; --"},
    "names": {"tenant": "R1/acme/100", "owner": "Zoë", "role": "*", "issued_by": "key_b"},
    "lists": {"rights": ("can_issue", "keys:*"), "groups": ("group_b", "group_a")},
    "moments": {"revoked_at": MOMENT, "created_at": datetime.min.replace(tzinfo=UTC)},
    "metadata": {"metadata": {"": None, "ü": [1.5, True, {"deep": [{}]}], "n": -(2**63)}},
    "empty": {"limits": Limits(tenants=[], networks=[], methods=[], models=[], scopes=[])},
    "unreadable": {"limits": Limits.load({"moon": ["full"], "networks": [7]})},
    "limits": {
        "limits": Limits(
            tenants=["acme", "*/b"],
            networks=["10.0.0.0/8", "!10.1.0.0/16", "2001:db8::/32"],
            methods=["GET", "WEBSOCKET"],
            read_only=True,
            models={"llama3:8b": "read", "*": "write"},
            scopes=["rest", "*"],
            not_before=MOMENT,
            expires_at=MOMENT + timedelta(microseconds=1),
        )
    },
}


class ReadContract(StoreKit):
    """What is read is what was written, of one snapshot, and nothing that merely looks alike."""

    def test_absent_key_is_answered_with_the_head(self, store: Store) -> None:
        """That there is no such key is as much bound to a revision as a key is."""
        head = commit(store, new(a_key("key_a"), a_digest(1)))
        for effect in (LoadByDigest((a_digest(2), a_digest(3))), LoadNode("key_b")):
            loaded = store.perform(effect)
            assert (loaded.head, loaded.key, loaded.rows) == (head, None, {})

    def test_node_comes_with_everything_above_it(self, store: Store) -> None:
        """One answer has the key, its parents, and the groups of all of them, and no other node."""
        key = a_key("key_a", parent="key_b", groups=("group_a",))
        top = a_key("key_c", groups=("group_a", "group_c"))
        groups = [a_group(name) for name in ("group_a", "group_b", "group_c")]
        below = a_key("key_d", parent="key_a")
        commit(store, new(top), *(new(group) for group in groups))
        parent = a_key("key_b", parent="key_c", groups=("group_b",))
        commit(store, new(parent, a_digest(2)), new(below, a_digest(4)))
        head = commit(store, new(key, a_digest(1)))
        expected = {
            "key_a": Row(key, 3, a_digest(1)),
            "key_b": Row(parent, 2, a_digest(2)),
            "key_c": Row(top, 1, None),
        } | {group.id: Row(group, 1, None) for group in groups}
        for effect in (LoadByDigest((a_digest(1),)), LoadNode("key_a")):
            loaded = store.perform(effect)
            assert (loaded.head, loaded.key, loaded.rows) == (head, "key_a", expected)

    def test_missing_node_above_is_shown_as_missing(self, store: Store) -> None:
        """A parent that does not exist is not passed over in silence."""
        key = a_key("key_a", parent="key_none", groups=("group_none",))
        commit(store, new(key))
        expected = {"key_a": Row(key, 1, None), "key_none": None, "group_none": None}
        assert load(store, "key_a").rows == expected

    def test_chain_follows_changes(self, store: Store) -> None:
        """A key that moved to another group no longer stands under the one it left."""
        commit(store, *(new(a_group(name)) for name in ("group_a", "group_b")))
        commit(store, new(a_key("key_a", groups=("group_a",))))
        commit(store, Put(node=a_key("key_a", groups=("group_b",)), expected=2))
        assert set(load(store, "key_a").rows) == {"key_a", "group_b"}

    def test_node_above_in_many_ways_is_there_once(self, store: Store) -> None:
        """A group that every parent shares takes the place of one node."""
        groups = ("group_a", "group_b")
        parents = [*(f"key_{i:02}" for i in range(1, CHAIN_MAX - len(groups))), None]
        keys = [
            a_key(f"key_{i:02}", parent=parent, groups=groups) for i, parent in enumerate(parents)
        ]
        commit(store, *(new(key) for key in keys))
        assert set(load(store, "key_00").rows) == {*groups, *(key.id for key in keys)}

    def test_cycle_ends(self, store: Store) -> None:
        """Keys that stand above each other are answered, once each."""
        pair = a_key("key_a", parent="key_b"), a_key("key_b", parent="key_a")
        commit(store, *(new(key) for key in pair), new(a_key("key_c", parent="key_c")))
        assert set(load(store, "key_a").rows) == {"key_a", "key_b"}
        assert set(load(store, "key_c").rows) == {"key_c"}

    @pytest.mark.parametrize("length", [CHAIN_MAX, CHAIN_MAX + 1, CHAIN_MAX + 9])
    def test_chain_that_is_too_long_shows_that_it_is(self, store: Store, length: int) -> None:
        """A whole chain is answered up to the longest, and of more just enough to refuse it."""
        parents = [*(f"key_{i:02}" for i in range(1, length)), None]
        keys = [a_key(f"key_{i:02}", parent=parent) for i, parent in enumerate(parents)]
        commit(store, *(new(key) for key in keys))
        loaded = load(store, "key_00")
        assert set(loaded.rows) == {key.id for key in keys[: CHAIN_MAX + 1]}

    def test_any_of_several_digests_finds_the_key(self, store: Store) -> None:
        """A key made under a retired pepper is found by the digest of that one."""
        commit(store, new(a_key("key_a"), a_digest(1)))
        loaded = store.perform(LoadByDigest((a_digest(3), a_digest(2), a_digest(1), a_digest(1))))
        assert loaded.key == "key_a"
        assert store.perform(LoadByDigest(())).key is None

    def test_credential_of_several_keys_is_corrupt(self, store: Store) -> None:
        """No store picks one of two keys, not even if one stands above the other."""
        commit(store, new(a_key("key_a"), a_digest(1)))
        commit(store, new(a_key("key_b", parent="key_a"), a_digest(2)))
        with pytest.raises(RecordCorruptError, match=r"key_a.*key_b"):
            store.perform(LoadByDigest((a_digest(1), a_digest(2))))

    def test_only_the_very_same_bytes_match(self, store: Store) -> None:
        """No collation, blank, case or zero byte makes two digests or two ids the same."""
        digests = [b"a" * 32, b"A" * 32, b"a" * 31, b"a" * 31 + b" ", b"a" * 31 + b"\0", bytes(32)]
        names = ["key_a", "key_A", "key_a.", "key_a-", "key_a_", "KEY_a"]
        commit(store, *(new(a_key(n), d) for n, d in zip(names, digests, strict=True)))
        for name, digest in zip(names, digests, strict=True):
            assert store.perform(LoadByDigest((digest,))).key == name
            assert set(load(store, name).rows) == {name}
        for name in ("key_%", "key_a ", " key_a", "key_a\0", ""):
            assert load(store, name).key is None
        assert store.perform(LoadByDigest((b"a" * 30,))).key is None

    def test_what_no_name_can_have_in_it_is_asked_about_in_vain(self, store: Store) -> None:
        """A zero character, which some databases do not take, ends no request with an error."""
        commit(store, new(a_key("key_a", tenant="acme")), new(a_key("key_b", parent="key_a")))
        for effect in (ListNodes(tenant="acme\0"), ListNodes(parent="key_a\0")):
            assert store.perform(effect) == ()
        after = store.perform(ListNodes(after="key_a\0b"))
        assert [row.node.id for row in after] == ["key_b"]

    def test_chain_is_of_one_snapshot(self, store: Store, second: Store) -> None:
        """Nodes that change together are read together, at the revision that is answered."""
        commit(store, new(a_key("key_a", parent="key_b"), a_digest(1)), new(a_key("key_b")))

        last = 40

        def change_both() -> None:
            for rev in range(1, last):
                pair = a_key("key_a", parent="key_b"), a_key("key_b")
                commit(second, *(Put(node=node, expected=rev) for node in pair))

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(change_both)
            while not writing.done():
                loaded = store.perform(LoadByDigest((a_digest(1),)))
                revs = {row.rev for row in loaded.rows.values() if row is not None}
                assert revs == {loaded.head.rev}
            writing.result()
        assert store.perform(Sync(0)).head.rev == last

    @pytest.mark.parametrize("members", ODD_MEMBERS.values(), ids=ODD_MEMBERS)
    def test_record_is_read_as_it_was_written(
        self, store: Store, second: Store, members: dict[str, Any]
    ) -> None:
        """Whatever a node has in it comes back equal."""
        key = a_key("key_a", **members)
        commit(store, new(key, a_digest(1)))
        assert row_of(second, "key_a") == Row(key, 1, a_digest(1))

    def test_what_is_read_is_nobody_elses(self, store: Store) -> None:
        """Changing what was written or read changes nothing in the store."""
        metadata: dict[str, Any] = {"team": ["a"]}
        commit(store, new(a_key("key_a", metadata=metadata)))
        for _ in range(2):
            metadata["team"].append("b")
            metadata = row_of(store, "key_a").node.metadata
            assert metadata == {"team": ["a"]}

    def test_list_is_in_order_of_ids_and_of_one_kind(self, store: Store) -> None:
        """Keys and groups are listed apart, each with its revision and digest."""
        keys = [a_key(name) for name in ("key_b", "key_A", "key_a", "key_10", "key_9")]
        commit(store, *(new(key, a_digest(i)) for i, key in enumerate(keys)))
        commit(store, new(a_group("group_a")))
        rows = store.perform(ListNodes())
        assert [row.node.id for row in rows] == ["key_10", "key_9", "key_A", "key_a", "key_b"]
        assert Row(keys[0], 1, a_digest(0)) in rows
        assert store.perform(ListNodes(kind="group")) == (Row(a_group("group_a"), 2, None),)
        assert store.perform(ListNodes(kind="other")) == ()

    def test_list_can_be_read_in_pages(self, store: Store) -> None:
        """Going on after the last id of a page shows every node once."""
        commit(store, *(new(a_key(f"key_{i}", tenant="ab"[i % 2])) for i in range(9)))
        pages: list[list[str]] = [[""]]
        while pages[-1]:
            page = store.perform(ListNodes(tenant="a", after=pages[-1][-1], limit=2))
            pages.append([row.node.id for row in page])
        assert pages[1:] == [["key_0", "key_2"], ["key_4", "key_6"], ["key_8"], []]
        assert store.perform(ListNodes(limit=0)) == ()

    def test_list_is_narrowed_by_tenant_and_parent(self, store: Store) -> None:
        """A tenant is that very tenant, not one beneath it or written alike."""
        commit(store, new(a_key("key_a")), new(a_key("key_b", tenant="acme", parent="key_a")))
        commit(store, new(a_key("key_c", tenant="acme")), new(a_key("key_d", parent="key_a")))
        commit(store, new(a_key("key_e", tenant="acme/100")), new(a_key("key_f", tenant="ACME")))
        expected = {
            ("acme", None): ["key_b", "key_c"],
            (None, "key_a"): ["key_b", "key_d"],
            ("acme", "key_a"): ["key_b"],
            ("", None): [],
        }
        for (tenant, parent), names in expected.items():
            rows = store.perform(ListNodes(tenant=tenant, parent=parent))
            assert [row.node.id for row in rows] == names
        commit(store, Put(node=a_key("key_c", tenant="other"), expected=2))
        assert [row.node.id for row in store.perform(ListNodes(tenant="acme"))] == ["key_b"]
        assert [row.node.id for row in store.perform(ListNodes(tenant="other"))] == ["key_c"]
