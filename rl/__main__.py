"""`python -m rl --config NAME ...`: the `dpo` command as a module, for `ray job submit --working-dir . -- python -m rl ...`."""

import sys

from wildreward.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["dpo", *sys.argv[1:]]))
