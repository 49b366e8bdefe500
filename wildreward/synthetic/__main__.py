"""python -m wildreward.synthetic --output runs/synthetic [--conversations 600] [--seed 0] [--shards 4]"""

import argparse

from wildreward.synthetic.generate import write


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m wildreward.synthetic", description=__doc__)
    parser.add_argument("--output", required=True, help="directory for conversations/ and truth.parquet")
    parser.add_argument("--conversations", type=int, default=600, help="readable conversations (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    parser.add_argument("--shards", type=int, default=4, help="parquet files (default: 4)")
    given = parser.parse_args()
    made = write(given.output, given.seed, given.conversations, given.shards)
    print(f"{len(made.rows)} rows and {len(made.chats)} logged chats in {given.output}/conversations,")
    print(f"{len(made.truth)} true levels in {given.output}/truth.parquet")


if __name__ == "__main__":
    main()
