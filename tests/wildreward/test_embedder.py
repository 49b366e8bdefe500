"""The embedder against its definition, with the real all-MiniLM-L6-v2."""

import numpy as np
import pytest

from wildreward.embedder import Embedder
from wildreward.errors import CheckpointError

TEXTS = [
    "How do I cook rice?",
    "Tell me how rice is boiled, please.",
    "The stock market fell.",
    "",
    "你好,请解释一下量子力学。",
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder("minilm")


def test_vectors_have_unit_length_and_the_models_dimension(embedder: Embedder) -> None:
    vectors = embedder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_a_text_has_the_same_vector_to_the_bit_alone_and_in_any_batch(embedder: Embedder) -> None:
    """Or a run that was killed, whose blocks are cut elsewhere, could judge a topic otherwise."""
    texts = [*TEXTS, "long " * 300, *(f"Number {n} of texts of the same length." for n in range(100, 112))]
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    np.testing.assert_array_equal(embedder.encode(texts), alone)
    np.testing.assert_array_equal(embedder.encode(texts[::-3]), alone[::-3])


def test_the_faster_arithmetic_moves_cosines_by_less_than_a_hundredth(embedder: Embedder) -> None:
    fast, exact = embedder.encode(TEXTS), Embedder("minilm", dtype="float32").encode(TEXTS)
    np.testing.assert_allclose(fast @ fast.T, exact @ exact.T, atol=0.01)


def test_repeated_texts_keep_their_places(embedder: Embedder) -> None:
    first, second, again = embedder.encode([TEXTS[0], TEXTS[2], TEXTS[0]])
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second)


def test_the_same_topic_is_nearer_than_another_one(embedder: Embedder) -> None:
    rice, boiled, market = embedder.encode(TEXTS[:3])
    assert rice @ boiled > 0.5 > rice @ market


def test_the_vector_is_the_mean_over_tokens_of_the_last_hidden_state(embedder: Embedder) -> None:
    import torch

    encoded = embedder._tokenizer(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        mean = embedder._model(**encoded).last_hidden_state[0].float().mean(0).numpy()
    np.testing.assert_allclose(embedder.encode([TEXTS[0]])[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_no_texts_give_an_empty_array(embedder: Embedder) -> None:
    assert embedder.encode([]).shape == (0, 384)


def test_a_model_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="embedder '/nowhere/at-all'"):
        Embedder("/nowhere/at-all")
