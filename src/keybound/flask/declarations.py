"""Keeps the table of a guard up to date with the rules of an application."""

from __future__ import annotations

import logging
from operator import is_
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from keybound.core.errors import SettingsError
from keybound.core.patterns import may_meet
from keybound.flask.demands import Marks, layers, subjects_of
from keybound.flask.rules import RuleRouter, read_rule
from keybound.locks import ForkLock

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import Rule

    from keybound.engine import Engine
    from keybound.flask.rules import RuleDemands
    from keybound.guard import Guard

logger = logging.getLogger("keybound")


class Declarations:
    """What the rules of an application declare to the engine of a guard.

    They are read when the first request comes, when a key is looked up and before every verb.
    """

    def __init__(self, app: Flask, guard: Guard, marked: WeakSet[Any]) -> None:
        """Read nothing yet: rules are added after this.

        ``marked`` are the functions with demands that views are expected to be made of.
        """
        self._app = app
        self._guard = guard
        self._marked = marked
        self._lock = ForkLock()
        self._seen: tuple[object, ...] = ()
        self._rules: dict[int, tuple[Rule, RuleDemands]] = {}
        self._router: RuleRouter | None = None
        self._declared: WeakKeyDictionary[Engine, RuleRouter] = WeakKeyDictionary()
        guard.engine.add_source(self._declare)
        _every.add(self)

    def read_again(self) -> None:
        """Read the rules anew, if they were read."""
        if self._router is not None:
            self.refresh(self._guard.engine)

    def check(self, engine: Engine) -> None:
        """Read the rules and look at what is guarded; raises ``SettingsError`` if nothing is.

        Raises ``InputError`` for demands that contradict each other.
        """
        engine.add_source(self._declare)
        router = self.refresh(engine)
        table = self._guard.table
        guarded = (
            table.may_guard(route)
            for demands in router.demands
            if not demands.static
            for route in demands.routes
        )
        if not any(guarded):
            raise SettingsError(
                "protect",
                f"{', '.join(table.protect)} and the views guard no rule of {self._app.name}",
                fix="protect=['/*'] guards all; every request is refused until then",
            )
        paths = [route.path for route in router.routes]
        for route in engine.settings.routes:
            if not any(may_meet(route.path, path) for path in paths):
                logger.warning("routes: %s matches no rule of %s", route.path, self._app.name)
        self._tell_hidden()

    def demands(self, rule: Rule) -> tuple[RuleDemands, bool]:
        """Return what a rule declares, and whether that is news, since the rule was added later."""
        known = self._rules.get(id(rule))
        if known is not None and known[0] is rule:
            return known[1], False
        self.refresh(self._guard.engine)
        known = self._rules.get(id(rule))
        return (read_rule(self._app, rule) if known is None else known[1]), True

    def refresh(self, engine: Engine) -> RuleRouter:
        """Let ``engine`` have the rules that there are now, and return them."""
        with self._lock.held():
            rules = list(self._app.url_map.iter_rules())
            views = (self._app.view_functions.get(rule.endpoint) for rule in rules)
            seen = (Marks.made, *rules, *views)  # of the count, one object stands for each number
            router = self._router
            if (
                router is None
                or len(seen) != len(self._seen)
                or not all(map(is_, seen, self._seen))
            ):
                read = [(rule, read_rule(self._app, rule)) for rule in rules]
                by_path = not (self._app.url_map.host_matching or self._app.subdomain_matching)
                router = self._router = RuleRouter(self._app.url_map, read, asked=by_path)
                self._rules = {id(rule): (rule, demands) for rule, demands in read}
                self._seen = seen
            if self._declared.get(engine) is not router:
                engine.declare_router(self._app, router)
                self._declared[engine] = router
            return router

    def _tell_hidden(self) -> None:
        seen = {
            id(layer)
            for rule in self._app.url_map.iter_rules()
            for method in rule.methods or (None,)
            for subject in subjects_of(self._app, str(rule.endpoint), method)
            for layer in layers(subject)
        }
        for function in self._marked:
            # Seen itself, or on what it stands around: that is marked as well.
            if seen.isdisjoint(map(id, layers(function))):
                logger.warning(
                    "requires: %s.%s is seen on no view of %s, and asks for a key only if it is "
                    "called; a decorator around it without functools.wraps hides it",
                    function.__module__,
                    function.__qualname__,
                    self._app.name,
                )

    def _declare(self, engine: Engine) -> None:
        self.refresh(engine)


_every: WeakSet[Declarations] = WeakSet()


def read_again() -> None:
    """Let applications whose rules were read have what was asked for since, from now on."""
    for declarations in list(_every):
        declarations.read_again()
