from pathlib import Path

import pytest

from wildreward.errors import DataError, UsageError
from wildreward.named_function import call_named, named_function


def test_a_function_is_found_in_the_users_directory_and_what_is_not_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "of_a_user.py").write_text("def one():\n    return 1\nNUMBER = 3\n")
    (tmp_path / "half_written.py").write_text("def one(:\n")
    assert named_function("--callable", "of_a_user:one", str(tmp_path))() == 1
    for name, said in (
        ("one", "--callable: found 'one'; expected module:function"),
        ("of_a_user:", "--callable: found 'of_a_user:'; expected module:function"),
        ("of_a_user:absent", "--callable of_a_user:absent: of_a_user has no function or class absent"),
        ("of_a_user:NUMBER", "--callable of_a_user:NUMBER: NUMBER is of type int; expected a function or class"),
        ("no_such_module:f", "no_such_module cannot be imported: No module named 'no_such_module'"),
        ("half_written:one", "half_written cannot be imported: .*half_written.py, line 1"),
    ):
        with pytest.raises(UsageError, match=said):
            named_function("--callable", name, str(tmp_path))


def test_what_a_users_function_raises_is_one_line_that_names_it_and_the_place(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("def one(given):\n    return {}[given]\n")
    function = named_function("--callable", "raises:one", str(tmp_path))
    with pytest.raises(DataError, match=r"^--callable raises:one: raised KeyError: 'oops' \(raises\.py, line 2\)$"):
        call_named("--callable", "raises:one", function, "oops")
