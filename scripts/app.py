"""Open the try-on page in the browser: python scripts/app.py key=value …"""

from siftvton.cli import run

if __name__ == "__main__":
    run("app")
