"""What docs/generate.py writes: one module for the tables of each page, and the dashboards."""
