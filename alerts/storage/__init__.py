"""What must survive a crash: SQLAlchemy tables and their migrations."""
