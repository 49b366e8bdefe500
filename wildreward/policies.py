"""A small real policy made from nothing, for machines without a hub: the stand-in for a chat model in demo and tests.

    new_policy("runs/policy", conversations, seed=0)      # byte-level BPE tokenizer, chat template, a 2M Llama
    warm_start("runs/policy", conversations, steps=600)   # short supervised fine-tuning: it writes plausible replies

The tokenizer is trained on the given conversations: any text, Chinese included, decodes to exactly what was encoded,
and a vocabulary of 4,096 keeps the output layer from dominating the time of so small a model.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

Message = dict[str, str]

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
ROLES = ("system", "user", "assistant")

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

WARMUP_FRAC = 0.05


def new_policy(
    directory: str | Path,
    conversations: Iterable[Sequence[Message]],
    seed: int = 0,
    *,
    vocabulary: int = 4096,
    hidden: int = 192,
    layers: int = 3,
    heads: int = 4,
    max_tokens: int = 512,
) -> None:
    """Write a randomly initialised Llama with a tokenizer trained on `conversations` and a chat template.

    The same conversations and seed give the same files. `max_tokens` is the context length, in tokens.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer(
        [message["content"] for conversation in conversations for message in conversation], vocabulary
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_tokens,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    tokenizer.model_max_length = max_tokens
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer of at most `vocabulary` entries with our chat template: every text round-trips."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [PAD, BOS, EOS, *(f"<|{role}|>" for role in ROLES)]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=special[3:],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def warm_start(
    directory: str | Path,
    conversations: Sequence[Sequence[Message]],
    steps: int = 600,
    seed: int = 0,
    *,
    lr: float = 2e-2,
    batch_tokens: int = 512,
    max_tokens: int = 192,
    on_step: Callable[[int, float], None] | None = None,
) -> float:
    """Supervised fine-tuning of the policy in `directory`, in place; returns the mean loss of the last tenth.

    Only the assistant's words carry loss. Conversations longer than `max_tokens` lose their head.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    examples = [example for messages in conversations if (example := _example(messages, tokenizer, max_tokens))]
    if not examples:
        raise ValueError("conversations: none has an assistant's message")
    optimizers = _optimizers(model, lr)
    schedules = [LambdaLR(optimizer, lambda step: _lr_scale(step, steps)) for optimizer in optimizers]
    losses = []
    for step, batch in zip(range(steps), _batches(examples, batch_tokens, seed), strict=False):
        ids_BT, mask_BT, labels_BT = _pad(batch, tokenizer.pad_token_id)
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT).logits[:, :-1]
        loss = functional.cross_entropy(logits_BTV.flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=-100)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, losses[-1])
    model.save_pretrained(directory)
    tail = losses[-max(1, steps // 10) :]
    return sum(tail) / len(tail)


def _optimizers(model: Any, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings and norms: after 200 steps a loss of 3.2, AdamW alone 5.2."""
    embeddings = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embeddings]
    others = [p for p in model.parameters() if p.ndim != 2 or p is embeddings]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.01, ns_steps=4),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _lr_scale(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to a tenth."""
    warmup = max(1, round(steps * WARMUP_FRAC))
    if step < warmup:
        return (step + 1) / warmup
    return 1 - 0.9 * (step - warmup) / max(1, steps - warmup)


def _example(messages: Sequence[Message], tokenizer: Any, max_tokens: int) -> tuple[list[int], list[int]] | None:
    """(ids, labels) of one conversation: labels are -100 outside the assistant's words and their end-of-text token."""
    ids, labels = [tokenizer.bos_token_id], [-100]
    for message in messages:
        role = tokenizer.convert_tokens_to_ids(f"<|{message['role']}|>")
        words = [*tokenizer.encode(message["content"], add_special_tokens=False), tokenizer.eos_token_id]
        ids += [role, *words]
        labels += [-100, *(words if message["role"] == "assistant" else [-100] * len(words))]
    ids, labels = ids[-max_tokens:], labels[-max_tokens:]
    return (ids, labels) if any(label != -100 for label in labels) else None


def _batches(examples: Sequence[tuple[list[int], list[int]]], batch_tokens: int, seed: int) -> Iterable[list[Any]]:
    """Endless shuffled batches of similar lengths, each at most `batch_tokens` when padded."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        noise = torch.rand(len(examples), generator=generator).tolist()
        order = sorted(range(len(examples)), key=lambda index: len(examples[index][0]) + 24 * noise[index])
        batches: list[list[Any]] = [[]]
        for index in order:
            longest = max((len(ids) for ids, _ in batches[-1]), default=0)
            if batches[-1] and max(longest, len(examples[index][0])) * (len(batches[-1]) + 1) > batch_tokens:
                batches.append([])
            batches[-1].append(examples[index])
        for position in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[position]


def _pad(batch: Sequence[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    length = max(len(ids) for ids, _ in batch)
    ids_BT = torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in batch])
    labels_BT = torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in batch])
    mask_BT = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in batch])
    return ids_BT, mask_BT, labels_BT
