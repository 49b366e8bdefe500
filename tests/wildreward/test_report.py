"""The report page: self-contained and escaped."""

from matplotlib.figure import Figure

from wildreward.report import Report


def test_a_page_holds_its_pictures_and_escapes_its_texts() -> None:
    report = Report("a < b")
    report.heading("Funnel")
    report.text("<script>alert(1)</script>")
    report.table(["name", "n"], [["x & y", 1234], ["z", 0.123456]], caption="counts")
    figure = Figure()
    figure.subplots().plot([1, 2])
    report.figure(figure, "a picture")
    page = report.html()
    assert "<script>" not in page
    assert "x &amp; y" in page
    assert "1,234" in page
    assert "0.1235" in page
    assert "data:image/png;base64," in page
    assert "http" not in page
