"""--chat-template: a jinja file stands in for a tokenizer's chat template; what is wrong with it is said early."""

import shutil
from pathlib import Path

import pytest

from serve.canary import check_files
from tests.checkpoints import tiny_checkpoint
from wildreward.chat_template import read_chat_template
from wildreward.cli import main
from wildreward.errors import CheckpointError, DataError, UsageError
from wildreward.reward_model import RewardModel
from wildreward.scorer import CheckpointScorer
from wildreward.settings.serve import ServeSettings

SIMPLE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role here') }}{% endif %}" + SIMPLE
TALK = [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "good day"}]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without a template, whose tokenizer has no chat template either."""
    directory = tiny_checkpoint(tmp_path_factory.mktemp("chat") / "bare")
    (directory / "wildreward_template.json").unlink()
    return directory


def written(directory: Path, source: str) -> str:
    path = directory / "template.jinja"
    path.write_text(source, encoding="utf-8")
    return str(path)


def test_a_jinja_file_renders_what_the_model_reads(bare: Path) -> None:
    model = RewardModel.load(bare, chat_source=SIMPLE)
    expected = model.tokenizer("user: hello there\nassistant: good day\n", add_special_tokens=False)["input_ids"]
    assert model.encode(TALK).input_ids == expected
    sources = [CheckpointScorer(str(bare), chat_source=source) for source in (SIMPLE, SIMPLE + " ")]
    assert sources[0].identity() != sources[1].identity()
    assert sources[0].load().score([TALK])[0].score == pytest.approx(model.score([TALK])[0].score)


def test_what_a_template_refuses_is_an_error_of_that_conversation(bare: Path) -> None:
    model = RewardModel.load(bare, chat_source=STRICT)
    assert model.score([TALK])
    with pytest.raises(DataError, match="no system role here"):
        model.encode([{"role": "system", "content": "s"}, *TALK])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for message in messages %}", "line 1: not a jinja template"),
        ("\n{{ messages[0 }}", "line 2: not a jinja template"),
        (" \n", "empty"),
    ],
)
def test_a_broken_file_is_refused_before_anything_is_loaded(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_chat_template(written(tmp_path, source))


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.jinja: no such file"):
        read_chat_template(str(tmp_path / "absent.jinja"))
    (tmp_path / "bytes.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        read_chat_template(str(tmp_path / "bytes.jinja"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ raise_exception('never') }}", "never"),
        ("{{ 1 + messages[0].content }}", "cannot render"),
        ("{{ messages[0].content }}", "leaves out the reply"),
    ],
)
def test_a_template_that_raises_or_drops_the_reply_is_refused_when_it_is_loaded(
    bare: Path, source: str, said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        RewardModel.load(bare, chat_source=source)


def test_transformers_own_block_is_known(tmp_path: Path) -> None:
    assert read_chat_template(written(tmp_path, "{% generation %}x{% endgeneration %}"))


def test_serve_and_score_take_it_and_refuse_it_where_the_checkpoint_has_its_own(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, SIMPLE)
    check_files(ServeSettings(checkpoint=str(bare), chat_template=path))
    complete = shutil.copytree(bare, tmp_path / "complete")
    (complete / "wildreward_template.json").write_text('{"max_tokens": 64}')
    with pytest.raises(UsageError, match="carries the template"):
        check_files(ServeSettings(checkpoint=str(complete), chat_template=path))
    given = ["score", "--input", str(tmp_path / "rows.jsonl"), "--output", str(tmp_path / "out")]
    for flags, said in (
        (["--checkpoint", str(bare), "--chat-template", str(tmp_path / "absent")], "no such file"),
        (["--checkpoint", str(bare), "--chat-template", path, "--template", "chat"], "not together with --template"),
        (["--callable", "a:b", "--chat-template", path], "it is for --checkpoint"),
    ):
        assert main([*given, *flags]) == 2
        assert said in capsys.readouterr().err
