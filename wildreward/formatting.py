"""How a reply is laid out: counts of the markdown that a reader sees, so that a bias for looks can be measured.

Counted as CommonMark 0.31 defines them (spec.commonmark.org): fenced code blocks, list items, ATX headings, strong
emphasis. What stands inside a code block is code and counts for nothing else. Underlined (setext) headings and indented
code are not counted: in chat replies they are nearly always something else.
"""

import re

FEATURES = ("code_blocks", "list_items", "headings", "bold")

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_BOLD = re.compile(r"\*\*(?=[^\s*])[^*\n]+\*\*|(?<!\w)__(?=[^\s_])[^_\n]+__(?!\w)")


def markdown_counts(text: str) -> dict[str, int]:
    """How often each of FEATURES stands in a text.

    >>> markdown_counts("# Plan\\n1. **first**\\n- second\\n```\\n# no heading\\n```")
    {'code_blocks': 1, 'list_items': 2, 'headings': 1, 'bold': 1}
    """
    counts = dict.fromkeys(FEATURES, 0)
    fence: str | None = None
    for line in text.splitlines():
        found = _FENCE.match(line)
        if fence is not None:
            if found and found[1].startswith(fence) and not line[found.end() :].strip():
                fence = None
            continue
        if found:
            fence = found[1]
            counts["code_blocks"] += 1
            continue
        counts["headings"] += _HEADING.match(line) is not None
        counts["list_items"] += _LIST_ITEM.match(line) is not None
        counts["bold"] += len(_BOLD.findall(line))
    return counts
