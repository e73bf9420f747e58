"""Score folders of results (paper §4.1: SSIM and LPIPS if paired, FID and KID if unpaired)."""

from siftvton.cli import run

if __name__ == "__main__":
    run("evaluate")
