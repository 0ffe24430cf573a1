"""How tables of an earlier version become those of this one: one module for each version.

A migration is never changed once it was released: it says what the tables were, and does not look
at ``keybound.stores.schema``. The name of the newest is ``SCHEMA`` there.
"""
