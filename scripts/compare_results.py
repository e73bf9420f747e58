"""Put several methods' results side by side, the torso enlarged below."""

from siftvton.cli import run

if __name__ == "__main__":
    run("compare_results")
