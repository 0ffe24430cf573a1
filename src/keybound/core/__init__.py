"""The decision and everything it rests on: no I/O, no clock, no randomness, no logging."""
