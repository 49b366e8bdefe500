"""The tiny backbone and rows of the tests of train."""

from tests.train.conftest import make_backbone, tiny_settings, wildfb, write_wildfb

__all__ = ["make_backbone", "tiny_settings", "wildfb", "write_wildfb"]
