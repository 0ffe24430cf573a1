"""What ``manage.py check`` says of a project, and what keeps one from starting.

Servers run no checks, so the errors among them are raised again when the middleware is made: an
installation that does not protect does not start. In ids, ``E`` is an error, ``W`` a warning.

keybound.E001  the middleware is not in MIDDLEWARE
keybound.E002  the middleware is there twice
keybound.E003  something that answers requests, or asks who calls, stands before the middleware
keybound.E004  KEYBOUND, the environment or keybound.toml cannot work
keybound.E005  no view of the URLconf can ever need a key
keybound.E006  KEYBOUND["OWNER"] cannot be imported, or is no function
keybound.E007  the application is not in INSTALLED_APPS
keybound.E008  what a view requires contradicts itself, or names no argument of the view, or only
               reads in methods that change something
keybound.E009  a re_path() answers paths outside of what PROTECT guards, though not as it shows them
keybound.W001  a configured route is about no path of the URLconf
keybound.W002  no secret is set (``check --deploy``)
keybound.W003  CorsMiddleware stands behind the middleware, so that browsers cannot ask first
keybound.W004  a re_path() answers more paths than it shows, which no configured route knows of
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.utils.module_loading import import_string

from keybound.core.errors import InputError, KeyboundError
from keybound.core.patterns import may_meet
from keybound.django.configuration import MisconfiguredError
from keybound.django.projects import current
from keybound.setting_values import HOW_TO_MAKE_ONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keybound.django.projects import Project

APP = "keybound.django"
MIDDLEWARE = "keybound.django.middleware.APIKeyMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"

BEHIND = {
    "django.middleware.cache.CacheMiddleware": "answers from the cache",
    "django.middleware.cache.FetchFromCacheMiddleware": "answers from the cache",
    "django.middleware.csrf.CsrfViewMiddleware": "refuses requests that a key would have allowed",
    "django.contrib.auth.middleware.LoginRequiredMiddleware": "asks for a login first",
}
"""What must come after the middleware, and why.

Everything else may stand on either side: what compresses, redirects to HTTPS or serves public
files may as well be first; sessions, languages and messages answer nothing; redirects and flat
pages answer a 404, and so what was decided; UpdateCacheMiddleware only stores, and Django wants it
first.
"""


def register_checks() -> None:
    """Tell Django of the checks."""
    register(check_project, Tags.security)
    register(check_deployment, Tags.security, deploy=True)


def check_project(**_more: object) -> list[CheckMessage]:
    """Return everything that is wrong with how keybound is installed."""
    return [*_missing(), *errors(), *_warnings()]


def check_deployment(**_more: object) -> list[CheckMessage]:
    """Return what a real project should not leave as it is."""
    try:
        secret = current().guard.settings.secret
    except KeyboundError:
        return []  # check_project says so
    if secret is not None:
        return []
    hint = f"Set KEYBOUND['SECRET'] or KEYBOUND_SECRET; {HOW_TO_MAKE_ONE}"
    return [CheckWarning("API keys are stored as plain SHA-256.", hint=hint, id="keybound.W002")]


def refuse_unprotecting(project: Project) -> None:
    """Raise ``MisconfiguredError`` for the first error of a project, once for each set-up."""
    setup = tuple(settings.MIDDLEWARE), getattr(settings, "ROOT_URLCONF", None)
    if project.checked == setup:
        return
    for error in errors():
        raise MisconfiguredError(str(error.id), error.msg.rstrip("."), fix=str(error.hint))
    project.checked = setup


def errors() -> Iterator[CheckMessage]:
    """Yield what keeps a project from being protected."""
    if not apps.is_installed(APP):
        hint = f"Add {APP!r} to INSTALLED_APPS."
        yield Error(
            "The application of the middleware is not installed.", hint=hint, id="keybound.E007"
        )
    kinds = list(_middleware())
    ours = [place for place, names in enumerate(kinds) if MIDDLEWARE in names]
    if len(ours) > 1:
        yield Error(
            "APIKeyMiddleware is in MIDDLEWARE twice.",
            hint="Remove one of them.",
            id="keybound.E002",
        )
    for names in kinds[: ours[0]] if ours else ():
        for name in [name for name in BEHIND if name in names][:1]:
            yield Error(
                f"{name} stands before APIKeyMiddleware, and {BEHIND[name]}.",
                hint=f"Move {MIDDLEWARE} before it in MIDDLEWARE.",
                id="keybound.E003",
            )
    yield from _of_settings()


def _of_settings() -> Iterator[CheckMessage]:
    try:
        project = current()
    except KeyboundError as error:
        yield _error(error, "keybound.E004")
        return
    try:
        if project.owned:
            project.configuration.load_owner()
    except KeyboundError as error:
        yield _error(error, "keybound.E006")
    try:
        table = project.attend().table
    except InputError as error:
        yield _error(error, "keybound.E008")
        return
    for loose in project.router.loose if project.router is not None else ():
        if loose.opens(table.protect):
            yield Error(
                f"re_path({loose.written!r}) answers paths outside of KEYBOUND['PROTECT'], too.",
                hint=f"{_TIGHTEN} Django searches for it, from anywhere.",
                id="keybound.E009",
            )
    views = project.router.routes if project.router is not None else ()
    if views and not any(table.may_guard(view) for view in views):
        shown = ", ".join(table.protect)
        yield Error(
            f"No view of the URLconf can need a key: KEYBOUND['PROTECT'] is {shown}, every route "
            "there is exempt, and no view requires one.",
            hint="Set KEYBOUND['PROTECT'] to the paths that keys are for, as in ['/api/*'].",
            id="keybound.E005",
        )


def _missing() -> Iterator[CheckMessage]:
    if not any(MIDDLEWARE in names for names in _middleware()):
        hint = f"Add {MIDDLEWARE!r} to MIDDLEWARE, before CsrfViewMiddleware."
        yield Error("Nothing is guarded: the middleware is missing.", hint=hint, id="keybound.E001")


def _warnings() -> Iterator[CheckMessage]:
    kinds = list(_middleware())
    ours = next((place for place, names in enumerate(kinds) if MIDDLEWARE in names), len(kinds))
    if any(CORS in names for names in kinds[ours:]):
        yield CheckWarning(
            "CorsMiddleware stands behind APIKeyMiddleware: browsers ask first without a key, and "
            "are refused.",
            hint="Move CorsMiddleware to the front of MIDDLEWARE.",
            id="keybound.W003",
        )
    try:
        project = current()
        table = project.attend().table
        views = project.router.routes if project.router is not None else ()
    except KeyboundError:
        return  # an error already
    if project.router is not None and (project.guard.settings.routes or "/*" not in table.protect):
        for loose in project.router.loose:
            if not loose.opens(table.protect):
                yield CheckWarning(
                    f"re_path({loose.written!r}) answers other paths than those that it shows.",
                    hint=f"{_TIGHTEN} PROTECT and ROUTES match whole paths.",
                    id="keybound.W004",
                )
    for route in project.guard.settings.routes:
        if views and not any(may_meet(route.path, view.path) for view in views):
            yield CheckWarning(
                f"The route {route.path} is about no path of the URLconf.",
                hint="Correct or remove it in KEYBOUND['ROUTES'].",
                id="keybound.W001",
            )


_TIGHTEN = "Begin it with ^ and end it with $, without (?i) and without | outside of groups:"


def _middleware() -> Iterator[frozenset[str]]:
    """Yield the names of each middleware and of what it is derived from."""
    for path in cast("Sequence[str]", settings.MIDDLEWARE):
        try:
            found: object = import_string(path)
        except ImportError:  # Django says so itself, and does not start
            yield frozenset({path})
            continue
        bases = found.__mro__ if isinstance(found, type) else ()
        yield frozenset({path, *(f"{base.__module__}.{base.__qualname__}" for base in bases)})


def _error(error: KeyboundError, name: str) -> CheckMessage:
    if isinstance(error, InputError):
        return Error(f"{error.field}: {error.problem}.", hint=error.fix or None, id=name)
    return Error(f"{error}.", id=name)
