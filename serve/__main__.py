"""The `serve` command as a module, for `ray job submit --working-dir . -- python -m serve --config NAME ...`."""

import sys

from wildreward.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["serve", *sys.argv[1:]]))
