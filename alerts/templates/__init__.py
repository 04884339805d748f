"""Go's template language (text/template): parsing, execution, and fmt's way of writing values."""
