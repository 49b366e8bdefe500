"""`python -m wildreward COMMAND ...`: the same front door as the installed `wildreward` command."""

from wildreward.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
