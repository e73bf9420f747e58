"""Print the configuration reference: python scripts/config_reference.py > docs/configuration.md"""

from siftvton.reference import page

if __name__ == "__main__":
    print(page(), end="")
