"""The verbs that block, of a guard and of what stands for one within a transaction."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from keybound.core.effects import Steps
    from keybound.core.explain import DenialExplanation, Explanation
    from keybound.core.issuing import IssuedKey
    from keybound.core.lifecycle import Receipt
    from keybound.core.limits import Limits
    from keybound.core.nodes import StoredNode
    from keybound.core.usage import Usage
    from keybound.options import (
        ChangeOptions,
        ExplainOptions,
        GroupOptions,
        IssueOptions,
        ListOptions,
        UpdateOptions,
    )
    from keybound.verbs import Shown, Verbs

T = TypeVar("T")


class BlockingVerbs:
    """Issues, shows, changes and ends keys and groups."""

    _verbs: Verbs

    @abstractmethod
    def _run(self, steps: Steps[T]) -> T:
        """Take the steps of a verb to their end."""

    def issue(self, **options: Unpack[IssueOptions]) -> IssuedKey:
        """Make a key; ``secret.reveal()`` is the key itself, here and never again.

        A limit that is left out is taken over from the ``parent``, except scopes, which a key
        has only by name. Raises ``InputError``, ``ExceedsCeilingError``, ``NotFoundError``.
        """
        return self._run(self._verbs.issue(**options))

    def create_group(self, **options: Unpack[GroupOptions]) -> Receipt:
        """Make a group; its limits and state hold for every key in it. Raises ``InputError``."""
        return self._run(self._verbs.create_group(**options))

    def show(self, node_id: str) -> Shown:
        """Return a key or group as it is stored now. Raises ``NotFoundError``."""
        return self._run(self._verbs.show(node_id))

    def list(self, **options: Unpack[ListOptions]) -> tuple[StoredNode, ...]:
        """Return up to ``limit`` (100) keys, or groups, with ids above ``after``, by id.

        With ``unused_for``, such as ``"90d"``, those keys that nobody used for so long and that
        are not revoked: this looks at every key.
        """
        return self._run(self._verbs.list(**options))

    def usage(self, key_ids: Sequence[str]) -> dict[str, Usage]:
        """Return how keys were used, as it is recorded by now; of nothing if the store cannot."""
        return self._run(self._verbs.usage(key_ids))

    def restrict(
        self,
        node_id: str,
        limits: Limits | Mapping[str, object],
        **options: Unpack[ChangeOptions],
    ) -> Receipt:
        """Narrow a key or group; nothing it may not do now can become permitted."""
        return self._run(self._verbs.restrict(node_id, limits, **options))

    def update(self, node_id: str, **options: Unpack[UpdateOptions]) -> Receipt:
        """Change members, and replace the limits that are named; ``*`` takes a limit away."""
        return self._run(self._verbs.update(node_id, **options))

    def enable(self, node_id: str, **options: Unpack[ChangeOptions]) -> Receipt:
        """Let a disabled key or group live again. Raises ``InputError`` for a revoked one."""
        return self._run(self._verbs.enable(node_id, **options))

    def disable(self, node_id: str, **options: Unpack[ChangeOptions]) -> Receipt:
        """Suspend a key or group, and with it every key below."""
        return self._run(self._verbs.disable(node_id, **options))

    def revoke(self, node_id: str, **options: Unpack[ChangeOptions]) -> Receipt:
        """End a key or group for ever; no worker accepts it after ``effective_by``."""
        return self._run(self._verbs.revoke(node_id, **options))

    def explain(
        self, key_id: str, method: str, path: str, **options: Unpack[ExplainOptions]
    ) -> Explanation:
        """Return every check of a request that a key might make, as it would be decided now."""
        return self._run(self._verbs.explain(key_id, method, path, **options))

    def explain_denial(self, denial: str) -> DenialExplanation:
        """Return what the id of a refusal says. Raises ``InputError`` for one of somebody else."""
        return self._run(self._verbs.explain_denial(denial))
