"""TRL's GRPO on prompts of a file, with a running scorer as its reward.

    wildreward serve --checkpoint runs/demo/train/checkpoint &
    python -m serve.examples.trl_grpo --policy runs/demo/policy --prompts prompts.jsonl --url http://127.0.0.1:8000

The file has a `prompt` column, each a text or messages. RLOOTrainer takes the same reward function.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from serve.adapters import TrlReward


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--output", default="runs/grpo")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args(arguments)
    trained = train(args.policy, args.prompts, args.url, args.output, args.steps)
    print(f"reward of the last step: {trained[-1]['rewards/wildreward/mean']:.3f}; policy in {args.output}")


def train(policy: str, prompts: str, url: str, output: str, steps: int) -> list[dict[str, Any]]:
    """Runs the trainer; its log of each step."""
    import torch
    from datasets import load_dataset
    from trl import GRPOConfig, GRPOTrainer

    trainer = GRPOTrainer(
        model=policy,
        reward_funcs=TrlReward(url, unscored="none"),  # an empty completion is left out of the loss
        args=GRPOConfig(
            output_dir=output,
            max_steps=steps,
            num_generations=4,
            per_device_train_batch_size=4,
            max_completion_length=32,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            bf16=torch.cuda.is_available(),
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=load_dataset("json", data_files=prompts, split="train"),
    )
    trainer.train()
    trainer.save_model(output)
    return [entry for entry in trainer.state.log_history if "reward" in entry]


if __name__ == "__main__":
    main()
