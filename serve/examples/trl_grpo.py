"""TRL's GRPO on the prompts of chat rows, with a running scorer as its reward. After `make demo`:

    wildreward serve --checkpoint runs/demo/train/checkpoint &
    python -m serve.examples.trl_grpo --policy runs/demo/policy --prompts runs/demo/label/wildfb/train

Prompts are JSONL, or parquet files of a directory, with a `prompt` column (texts or messages) or the WildFB column
`messages`, whose last reply is left off. RLOOTrainer takes the same reward function.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
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
        train_dataset=prompts_of(prompts),
    )
    trainer.train()
    trainer.save_model(output)
    return [entry for entry in trainer.state.log_history if "reward" in entry]


def prompts_of(path: str) -> Any:
    """A dataset with the column `prompt` alone."""
    from datasets import load_dataset

    kind = "json" if path.endswith((".json", ".jsonl")) else "parquet"
    where = {"data_files": path} if Path(path).is_file() else {"data_dir": path}
    rows: Any = load_dataset(kind, split="train", **where)
    if "prompt" in rows.column_names:
        return rows.select_columns(["prompt"])
    return rows.map(lambda row: {"prompt": row["messages"][:-1]}, remove_columns=rows.column_names)


if __name__ == "__main__":
    main()
