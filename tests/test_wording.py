"""The words of messages and reports."""

from siftvton.wording import counted


def test_the_noun_fits_its_number():
    assert [counted(number, "pair") for number in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]
    assert [counted(number, "match", "matches") for number in (1, 12)] == ["1 match", "12 matches"]
