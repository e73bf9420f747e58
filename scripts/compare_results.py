"""Put the results of several methods side by side, with the torso enlarged."""

from siftvton.cli import run

if __name__ == "__main__":
    run("compare_results")
