"""Score folders of results: SSIM and LPIPS in the paired setting, FID and KID in the unpaired one (paper §4.1)."""

from siftvton.cli import run

if __name__ == "__main__":
    run("evaluate")
