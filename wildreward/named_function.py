"""Functions that a user names on the command line as `module:function`."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from wildreward.errors import UsageError


def named_function(flag: str, name: str, folder: str) -> Callable[..., Any]:
    """The function or class. `folder` is where its module may lie besides the usual places: the user's directory.

    Raises UsageError naming the flag, and what is missing.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"{flag}: found {name!r}; expected module:function")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except (ImportError, SyntaxError) as error:
        raise UsageError(f"{flag} {name}: {module} cannot be imported: {error}") from error
    if found is None:
        raise UsageError(f"{flag} {name}: {module} has no function or class {attribute}")
    if not callable(found):
        raise UsageError(f"{flag} {name}: {attribute} is of type {type(found).__name__}; expected a function or class")
    return found
