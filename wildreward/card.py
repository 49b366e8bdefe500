"""The data set card of a label run: README.md with the YAML header that the Hugging Face Hub reads. No user's text.

Header: hub-docs, datasetcard.md (fields) and "Manual Configuration" (configs, data_files); the size categories and the
task categories are the Hub's own words. A README.md that does not carry the line MADE_BY is somebody's own, and stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import yaml

from wildreward import __version__, storage
from wildreward.breakdown import top
from wildreward.label_report import outcomes
from wildreward.languages import code_of
from wildreward.scale import LEVEL_NAMES
from wildreward.schema import WILDFB_COLUMNS
from wildreward.settings.label import LabelSettings

MADE_BY = "<!-- Written by wildreward label, which writes it again: delete this line to keep your own changes. -->"

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
LARGER = "10M<n<100M"

TASKS = ("text-classification", "reinforcement-learning")
TAGS = ("reward-model", "rlhf", "implicit-feedback", "ordinal-regression", "wildfb", "wildreward")

HIDDEN_SETTINGS = frozenset({"report_samples", "usd_per_million_input", "usd_per_million_output"})
EMPTY = {"languages": "all"}
"""What an empty list means where it is not `none`."""

MAX_GROUPS = 15

LIMITS = (
    "A level says how a user took a reply, not whether the reply was right.",
    "Only users who went on writing are heard, and neutral follow-ups, by far the most, are dropped: "
    "the classes are not the shares of satisfied users.",
    "Texts are the log's own. The filter `personal_data` knows patterns of addresses and numbers, no names: "
    "read before you publish. `user` holds the log's user id or hashed IP address.",
)
LEXICON_LIMIT = (
    "The judge is a list of cues in English and Chinese, and no reader: feedback without a cue, and in any other "
    "language, is neutral to it. Compare it with a judge that reads before you rely on it (`wildreward agree`)."
)
MODEL_LIMIT = (
    "The levels are a language model's reading of the users' words. No human has checked them, unless a comparison "
    "(`wildreward agree`) stands beside this card."
)


def write_card(settings: LabelSettings, summary: Mapping[str, Any], made_with: Mapping[str, Any]) -> None:
    """Write README.md to --output, and say so where somebody else's is left alone."""
    path = storage.join(settings.output, "README.md")
    if storage.exists(path) and MADE_BY not in storage.read_text(path):
        print(f"label: {path} is left as it is: it lacks the line that marks a card of ours")
        return
    storage.write_text(path, data_card(settings, summary, made_with))


def data_card(settings: LabelSettings, summary: Mapping[str, Any], made_with: Mapping[str, Any]) -> str:
    """The card. `made_with`: the settings that the judgements and the rows depend on, with `prompt_version`."""
    header = yaml.safe_dump(card_header(settings, summary), sort_keys=False, allow_unicode=True)
    body = "\n".join(_body(settings, summary, made_with))
    return f"---\n{header}---\n\n{MADE_BY}\n\n{body}\n"


def card_header(settings: LabelSettings, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What stands between the two lines of dashes."""
    rows = summary["rows"]["train"] + summary["rows"]["test"]
    codes = sorted({code for name in summary["languages"]["rows"] if (code := code_of(name))})
    files = [{"split": side, "path": f"wildfb/{side}/*.parquet"} for side in ("train", "test")]
    return {
        "pretty_name": settings.card_name,
        **({"license": settings.card_license} if settings.card_license else {}),
        **({"language": codes} if codes else {}),
        "task_categories": list(TASKS),
        "size_categories": [size_category(rows)],
        "tags": list(TAGS),
        "configs": [{"config_name": "default", "data_files": files}],
    }


def size_category(rows: int) -> str:
    """
    >>> size_category(0), size_category(1000), size_category(5_000_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    return next((name for edge, name in SIZES if rows < edge), LARGER)


def _body(settings: LabelSettings, summary: Mapping[str, Any], made_with: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {_cell(settings.card_name)}\n"
    yield (
        "Assistants' replies from conversations, each with a class that says how the user took it, read from the "
        f"user's next message: {class_names(settings.classes)}. "
        f"Made by wildreward {__version__} with the method of WildReward (arXiv 2602.08829).\n"
    )
    yield "## How it was made\n"
    yield from _table(("what", "value"), _provenance(made_with))
    yield "\n## What went in and what came out\n"
    yield from _table(("level", "outcome", "count"), outcomes(summary))
    yield from _distributions(summary)
    yield "\n## Columns\n"
    yield "Two splits, `train` and `test`, by conversation. One row is one reply.\n"
    columns = ((f"`{column.name}`", f"`{type_name(column.type)}`", column.meaning) for column in WILDFB_COLUMNS)
    yield from _table(("column", "type", "meaning"), columns)
    yield "\n## Limits\n"
    for limit in (LEXICON_LIMIT if settings.judge == "lexicon" else MODEL_LIMIT, *LIMITS):
        yield f"- {limit}"
    if settings.card_license is None:
        yield "\nNo license is claimed here: that of the conversations holds."
    yield "\n## Upload\n"
    yield "The evidence in `feedback/` and `quarantine/` is not part of the data set:\n"
    yield "```bash\nhf upload NAME . --repo-type dataset --include README.md 'wildfb/**'\n```"


def _distributions(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Classes and levels\n"
    yield from _table(("class", "rows"), sorted(summary["classes"].items()))
    yield ""
    judged, refined = summary["levels"]["judged"], summary["levels"]["refined"]
    levels = ((level, name, judged[str(level)], refined[str(level)]) for level, name in LEVEL_NAMES.items())
    yield from _table(("level", "meaning", "turns as judged", "turns after refinement"), levels)
    yield "\n## Languages\n"
    shown = ("conversations", "turns", "rows")
    groups = top(summary["by_language"], MAX_GROUPS).items()
    yield from _table(("language", *shown), ((name, *(counts.get(key, 0) for key in shown)) for name, counts in groups))


def class_names(classes: Mapping[int, int]) -> str:
    """
    >>> class_names({1: 1, 2: 1, 4: 2})
    '1 rejection or error correction, 2 positive engagement'
    """
    names: dict[int, list[str]] = {}
    for level, number in classes.items():
        names.setdefault(number, []).append(LEVEL_NAMES[level])
    return ", ".join(f"{number} {' or '.join(found)}" for number, found in names.items())


def type_name(kind: pa.DataType) -> str:
    """
    >>> type_name(pa.list_(pa.struct([("role", pa.string())]))), type_name(pa.int8())
    ('list<struct<role: string>>', 'int8')
    """
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {type_name(field.type)}' for field in kind)}>"
    return str(kind)


def _provenance(made_with: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Who judged and how; where the endpoint is and how fast it was asked does not matter to the rows."""
    yield from ((name, _shown(name, value)) for name, value in made_with.items() if name not in HIDDEN_SETTINGS)


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, str) and value.startswith("/"):
        return value.rstrip("/").rpartition("/")[2]  # a model's directory: where it lies is nobody's business
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or EMPTY.get(name, "none")
    return "default" if value is None else value


def _table(headers: Sequence[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(headers)} |"
    yield f"|{' --- |' * len(headers)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(value: Any) -> str:
    """A value as Markdown that cannot break the table or bring markup in.

    >>> _cell(12345), _cell("a|b <i>")
    ('12,345', 'a\\\\|b &lt;i>')
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
