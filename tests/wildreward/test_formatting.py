"""What counts as markdown, and what only looks like it."""

import pytest

from wildreward.formatting import FEATURES, markdown_counts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words, 3 - 2 = 1, a*b*c and #hashtag", {}),
        ("# One\n## Two\n   ### Three\n    #### code, not a heading\n#no", {"headings": 3}),
        ("- a\n* b\n+ c\n  - nested\n1. d\n2) e\n-no\n1.no\n-", {"list_items": 6}),
        ("**a** and __b__ and ** not ** and snake__case__name and *italic*", {"bold": 2}),
        ("```python\n# comment\n- x\n**y**\n```\ntext", {"code_blocks": 1}),
        ("~~~\n```\n~~~\n```\nleft open\n# no heading", {"code_blocks": 2}),
        ("````\n```\n````", {"code_blocks": 1}),
        ("an `inline ``` run` is no block\n``` not ` a fence", {}),
        ("- **first**: see\n- **second**", {"list_items": 2, "bold": 2}),
        ("", {}),
    ],
)
def test_markdown_is_counted_as_a_reader_sees_it(text: str, expected: dict[str, int]) -> None:
    assert markdown_counts(text) == dict.fromkeys(FEATURES, 0) | expected


def test_a_long_line_of_asterisks_is_read_once() -> None:
    assert markdown_counts("**a" * 100_000)["bold"] == 50_000
