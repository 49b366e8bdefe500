"""The `dpo` command as a module: `python -m rl --config NAME ...`, as for `ray job submit --working-dir . -- ...`."""

import sys

from wildreward.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["dpo", *sys.argv[1:]]))
