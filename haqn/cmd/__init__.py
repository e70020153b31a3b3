"""Composition roots: one module a program, where its parts are put together."""
