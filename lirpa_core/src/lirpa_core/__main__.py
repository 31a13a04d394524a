"""`python -m lirpa_core` is the command `lirpa`."""

from lirpa_core.cli.main import main

if __name__ == "__main__":
    main()
