"""Batch jobs on many files and machines: steps for datatrove's local, Slurm and Ray executors."""

from .steps import Critique, Encode, Translate

__all__ = ["Critique", "Encode", "Translate"]
