"""HTML pages: what is put into them cannot break them."""

from emoca_core.pages import html_page


def test_what_is_shown_is_escaped_and_can_be_encoded():
    page = html_page("contact_sheet", title="caf\udce9 <b> é", counted="", rows=[], failures=[("a\udcff", "no & face")])
    assert "caf\ufffd &lt;b&gt; é" in page and "a\ufffd" in page and "no &amp; face" in page
    assert page.encode()  # a lone surrogate has no bytes
