"""Functions that a user names on the command line as `module:function`."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from wildreward.errors import DataError, UsageError


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


def call_named(flag: str, name: str, function: Callable[..., Any], *given: Any) -> Any:
    """What the user's function returns. Raises DataError naming it, what it raised, and at which line."""
    try:
        return function(*given)
    except Exception as error:  # whatever it is: the code is the user's, and the line is told
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}, line {place.lineno}"
        raise DataError(f"{flag} {name}: raised {type(error).__name__}: {error} ({where})") from error
