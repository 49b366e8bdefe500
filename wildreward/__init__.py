"""wildreward: calibrated reward models from the feedback users give in their next message."""

__version__ = "0.1.0"
