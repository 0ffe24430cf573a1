"""Limits are a lattice: what a key may do, in every dimension, and how it only ever narrows."""

from __future__ import annotations

from keybound.core.limits.clause import Clause, Json
from keybound.core.limits.dimensions import DIMENSIONS, register
from keybound.core.limits.header_only import HeaderOnly
from keybound.core.limits.hours import Hours
from keybound.core.limits.lattice import CLAUSES_MAX, Limits, LimitsData
from keybound.core.limits.lifetime import Lifetime
from keybound.core.limits.methods import Methods
from keybound.core.limits.models import Models
from keybound.core.limits.networks import Networks
from keybound.core.limits.read_only import ReadOnly
from keybound.core.limits.scopes import Scopes
from keybound.core.limits.stored import Unreadable
from keybound.core.limits.tenants import Tenants, parse_tenant

__all__ = [
    "CLAUSES_MAX",
    "DIMENSIONS",
    "Clause",
    "HeaderOnly",
    "Hours",
    "Json",
    "Lifetime",
    "Limits",
    "LimitsData",
    "Methods",
    "Models",
    "Networks",
    "ReadOnly",
    "Scopes",
    "Tenants",
    "Unreadable",
    "parse_tenant",
    "register",
]
