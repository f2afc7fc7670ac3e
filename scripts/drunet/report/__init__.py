"""The report: pictures, figures, tables, and the page that holds them."""
