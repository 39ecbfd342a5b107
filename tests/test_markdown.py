from salt.markdown import table, with_section

MARKS = ("<!-- start -->", "<!-- end -->")


def test_a_table_has_a_rule_under_its_headings_and_a_line_per_row() -> None:
    lines = ["| name | score |", "| --- | --- |", "| a | 1 |", "| b | 2 |"]
    assert table(["name", "score"], [["a", "1"], ["b", "2"]]) == "\n".join(lines) + "\n"


def test_a_section_is_replaced_and_the_text_around_it_stays() -> None:
    first = with_section("Before.\n", *MARKS, "old\n") + "\nAfter.\n"
    assert with_section(first, *MARKS, "new\n") == first.replace("old", "new")
    assert first.startswith("Before.\n") and first.endswith("<!-- end -->\n\nAfter.\n")


def test_writing_the_same_section_again_changes_nothing() -> None:
    page = with_section("Text.\n", *MARKS, "content\n")
    assert with_section(page, *MARKS, "content\n") == page
