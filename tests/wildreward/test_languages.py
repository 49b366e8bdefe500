"""Names of languages and lengths of texts."""

from wildreward.languages import UNKNOWN, detect, units


def test_languages_have_the_names_wildchat_uses() -> None:
    assert detect(["Ich hätte gern ein Rezept für Apfelkuchen mit Streuseln."]) == "German"
    assert detect(["Подскажите, пожалуйста, как работает этот прибор?"]) == "Russian"
    assert detect(["请问这个问题怎么解决比较好"]) == "Chinese"


def test_a_text_without_letters_has_no_language() -> None:
    assert detect(["12 + 34 = ?", ""]) == UNKNOWN
    assert detect([]) == UNKNOWN


def test_a_chinese_character_counts_as_a_word() -> None:
    assert units("用 Python 写") == 3
    assert units("don't stop") == 3
    assert units("") == 0
