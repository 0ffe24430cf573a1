"""What a view asks of a key: ``@requires`` in front of it, ``require`` within it."""

from __future__ import annotations

from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asgiref.sync import markcoroutinefunction
from django.core.exceptions import PermissionDenied
from django.views import View

from keybound.core.demands import Demand
from keybound.core.errors import RefusedError
from keybound.core.facts import MAY_READ
from keybound.core.patterns import template_fields
from keybound.django.answers import marked
from keybound.django.facts import guarded
from keybound.django.projects import current
from keybound.django.views import demand_of, demands_on, fields_of, is_async

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.http import HttpRequest

    from keybound.core.decision import Denied
    from keybound.core.facts import Access
    from keybound.core.identity import Identity
    from keybound.django.facts import GuardedRequest
    from keybound.django.views import Fields

T = TypeVar("T", bound="Callable[..., Any]")

_numbers = count()


class PermissionRefusedError(RefusedError, PermissionDenied):
    """A demand that the key of a request does not meet; where nobody answers it, it is a 403."""


def requires(
    *scopes: str,
    model: str | None = None,
    access: Access | None = None,
    tenant: str | None = None,
) -> Callable[[T], T]:
    """Ask for a key, with these scopes, for what a request is about; the rest is as in ``Route``.

    For functions and methods, synchronous or not, for ``method_decorator``, and for subclasses of
    ``View``. Arguments of the view are fields: ``tenant="{domain}"``. Decided before the view runs
    wherever the decorators around it use ``functools.wraps``, and in any case when it is called.
    ``access="read"`` holds for GET, HEAD, OPTIONS and POST alone: a class of views without any of
    them is an error of ``manage.py check``, while of a function nobody knows what it answers. The
    answer gets ``Vary: Authorization``, so that ``cache_page`` around it keeps keys apart. Raises
    ``InputError``.
    """
    demand = Demand.read(scopes, model=model, access=access, tenant=tenant)
    # A name of its own: Django copies attributes of views from one to the other, and over another.
    name = f"keybound_demand_{next(_numbers)}"
    templated = bool(template_fields(model) or template_fields(tenant))

    def decorate(view: T) -> T:
        if isinstance(view, type):
            if not issubclass(view, View):
                msg = f"{view.__qualname__} is no View: requires() is for views"
                raise TypeError(msg)
            kind = cast("Any", view)
            kind.dispatch = decorate(kind.dispatch)
            return cast("T", kind)

        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the view has it
            first = args[0]
            request: Any = first.request if isinstance(first, View) else first
            if templated or not _decided(request, name):
                _check(request, demand)
            # A cache around the view comes before the middleware.
            return marked(current(), view(*args, **kwargs))

        setattr(checked, name, demand)
        if is_async(view):
            markcoroutinefunction(checked)
        return cast("T", checked)

    return decorate


def require(
    request: HttpRequest,
    scopes: str | Iterable[str] = (),
    *,
    model: str | None = None,
    access: Access | None = None,
    tenant: str | None = None,
) -> Identity:
    """Return who is calling, if that key may do this as well; otherwise the request is refused.

    ``model``, ``access`` and ``tenant`` are as in ``Route``, with the arguments of the view as
    fields. It only narrows: what the middleware refused never comes here. Raises an exception that
    the middleware answers as every refusal, and ``InputError``.
    """
    return _check(request, Demand.read(scopes, model=model, access=access, tenant=tenant))


def unmet(request: GuardedRequest, view: Callable[..., Any]) -> Denied | None:
    """Return why the key of a request may not have a view, ``None`` if it may."""
    demand = demand_of(view, (request.method or "").upper())
    if demand is None:
        return None
    try:
        _check(request, demand)
    except RefusedError as error:
        return error.denied
    return None


def _decided(request: GuardedRequest, name: str) -> bool:
    """Return whether the demand of this name was part of the decision on this very request."""
    view = getattr(request, "keybound_view", None)
    method = request.method or ""
    return (
        view is not None
        and request.keybound_asked[0] == method
        and name in demands_on(view, method)
    )


def _check(given: HttpRequest, demand: Demand) -> Identity:
    request = guarded(given)
    asked, match = request.keybound_asked, request.resolver_match
    method = asked[0]
    if method.upper() != request.method:  # a decorator may have changed it since
        method = request.method or ""
    said = demand.access
    fields: Fields = {}
    if match is not None:
        fields = fields_of(match.kwargs)
        whole = demand_of(match.func, method.upper())
        if whole is not None and said != "write":  # what stands around the view speaks of it too
            said = whole.access or said
    if said == "read" and method not in MAY_READ:
        said = "write"
    if said is None:  # then as the table says, where a project may have said it of the path
        decided = current().match((method, *asked[1:]))
        said = "write" if decided is None else decided.access
    try:
        return demand.check(request.api_key, method=method, fields=fields, said=said)
    except RefusedError as error:
        raise PermissionRefusedError(error.denied) from None
