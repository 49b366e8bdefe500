"""Evaluation sets: one small module for each kind, its rules and their sources in its docstring.

A new benchmark is a subclass of EvaluationSet with a place in KINDS.
"""
