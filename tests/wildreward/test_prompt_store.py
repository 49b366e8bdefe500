"""Prompts on disk come back as they were added; memory holds positions, whatever the texts weigh."""

import tracemalloc

from wildreward.prompt_store import PromptStore
from wildreward.prompts import prompts_of_row


def filled(count: int, words: int = 3) -> PromptStore:
    store = PromptStore()
    for number in range(count):
        [prompt] = prompts_of_row({"prompt": f"{number} " + "word 词 " * words})
        assert store.is_new(prompt)
        store.add(prompt, [number, 7])
    return store


def test_a_prompt_comes_back_with_its_tokens() -> None:
    store = filled(5)
    assert [item.ids for item in store.part([4, 0])] == [(4, 7), (0, 7)]
    assert store[2].prompt == prompts_of_row({"prompt": "2 " + "word 词 " * 3})[0]
    assert [item.ids[0] for item in store.part(range(5))[1:3]] == [1, 2]


def test_an_equal_prompt_is_not_new() -> None:
    store = PromptStore()
    asked = [prompts_of_row({"prompt": text})[0] for text in ("one", "other", "one")]
    assert [store.is_new(prompt) for prompt in asked] == [True, True, False]


def test_the_digest_is_of_the_prompts_and_their_order() -> None:
    assert filled(5).digest() == filled(5).digest() != filled(6).digest()


def test_memory_holds_no_texts() -> None:
    tracemalloc.start()
    store = filled(3000, words=400)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(store) == 3000
    assert held < 3000 * 200 < 3000 * 400 * 5, "bytes held, room for positions, bytes of the texts"
