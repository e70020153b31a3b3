"""SQL: tables, transactions, migrations, and the rules of what may be written. The only importer of SQLAlchemy."""
