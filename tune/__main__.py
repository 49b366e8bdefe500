"""`python -m tune --config NAME ...`: the `tune` command as a module.

For clusters: `ray job submit --working-dir . -- python -m tune ...`.
"""

import sys

from wildreward.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["tune", *sys.argv[1:]]))
