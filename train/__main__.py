"""`python -m train --config NAME ...`: the `train` command as a module.

For clusters: `ray job submit --working-dir . -- python -m train ...`.
"""

import sys

from wildreward.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["train", *sys.argv[1:]]))
