"""The report: figures, their captions, the verdict, and the page that holds them."""
