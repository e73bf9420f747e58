"""Entry point of ``python -m siftvton <command> …``."""

from siftvton.cli import main

if __name__ == "__main__":
    main()
