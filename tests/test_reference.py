from pathlib import Path

from siftvton.reference import page

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"


def test_the_configuration_reference_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run make reference"


def test_it_has_each_key_with_its_default_and_what_it_allows():
    text = page()
    assert "## train\n" in text
    assert "| `train.batch_size` | `8` | " in text
    assert "| 1 to 1,000,000 |" in text
    assert "| published \\| paper |" in text
