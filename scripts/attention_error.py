"""Measure how far the hooked layers of a checkpoint look from where they should, and draw what they look at."""

from siftvton import cli
from siftvton.config import AttentionError


def main(config: AttentionError) -> None:
    from siftvton.evaluation.attention_error import attention_error  # after the command line is checked

    print(attention_error(config), end="")


if __name__ == "__main__":
    cli.run(main, AttentionError, default="vitonhd.yaml")
